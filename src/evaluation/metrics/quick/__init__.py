"""The metrics that are also computed at each validation score of a run, since they take a second or two."""
