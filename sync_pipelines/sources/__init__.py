"""Systems that records are read from, one module (or one family of modules) each."""
