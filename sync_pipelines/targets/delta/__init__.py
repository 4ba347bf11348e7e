"""A Delta table as a target, written by delta-rs."""
