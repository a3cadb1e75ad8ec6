"""Samples from a generator: which ones, drawing them, and writing them as pictures, arrays or folders."""
