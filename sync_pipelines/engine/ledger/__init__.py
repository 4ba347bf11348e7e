"""The ledger: tables of the schema `sync` that hold what every sync has read, written, refused and proven."""
