"""Every health check of the project. It imports whatever it checks, and nothing imports it."""
