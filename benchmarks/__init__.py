"""What is measured, and how: run a module of this package with nothing else on the machine."""
