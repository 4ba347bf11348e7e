"""Google Keep as a source."""
