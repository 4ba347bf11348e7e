"""A Delta table as a source, read by delta-rs."""
