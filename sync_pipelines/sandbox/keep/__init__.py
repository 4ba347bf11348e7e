"""Stand-ins of Google Keep: notes of all kinds, exports of Takeout with them, and an account that gkeepapi can ask."""
