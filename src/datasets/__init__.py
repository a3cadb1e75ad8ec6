"""Datasets: verified bytes from a source, their readers, the prepared store, and batches on the device."""
