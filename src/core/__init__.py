"""Errors, files, signals, paths, the device context and the terminal."""
