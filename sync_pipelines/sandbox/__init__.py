"""Real engines on this machine: PostgreSQL and Chroma as child processes, with sample data. Imported by the
console script and by tests alone."""
