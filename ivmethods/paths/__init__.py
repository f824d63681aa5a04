"""Paths of token positions through a frozen linear form of the model."""
