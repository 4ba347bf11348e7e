"""Where records go: one module a system writes changes to it and asks it what it holds."""
