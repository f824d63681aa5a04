"""Checkpoints: names, files that are checked, loading."""
