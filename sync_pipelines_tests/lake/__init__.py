"""Delta tables: kinds, types, engines."""
