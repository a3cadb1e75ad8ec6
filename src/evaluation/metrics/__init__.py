"""One metric a file. Each file defines ``METRIC``, and is found by being here."""
