"""Background jobs: a queue in PostgreSQL, and the workers that do what is in it."""
