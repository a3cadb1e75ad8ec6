"""What people read: figures, scorecards, comparisons and model cards. Nothing here computes a score."""
