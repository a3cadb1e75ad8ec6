"""Scores of generated images in the classifier's feature space: scorecard, gate, comparison and leaderboard."""
