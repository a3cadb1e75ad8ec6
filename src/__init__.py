"""Train, score, tune and register GANs: one module a stage or command, library rooms beside them."""
