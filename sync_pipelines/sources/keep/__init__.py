"""Google Keep as a source: exports of Takeout, and live accounts."""
