"""REST APIs as sources: a client that keeps to a rate, survives faults and stops when the API is down."""
