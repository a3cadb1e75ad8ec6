"""Train, score, tune and register GANs: one module a stage or command, and the packages that they call."""
