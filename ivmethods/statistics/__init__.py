"""Bounds, tests and decisions over units: pure functions on arrays."""
