"""Failed checks, failed runs and growing lag become notifications: one an incident, and one for its end."""
