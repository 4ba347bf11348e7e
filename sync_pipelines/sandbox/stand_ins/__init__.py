"""What the stand-ins of services on the internet have in common: HTTP, faults, limits, a log, a control beside it."""
