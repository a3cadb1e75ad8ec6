"""Datasets: verified bytes from a source, their readers, the prepared splits, and batches on the device."""
