"""Scores of generated images in the auxiliary classifier's eyes: one metric a file, all of one signature."""
