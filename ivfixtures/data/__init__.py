"""Kinds of inputs and their files."""
