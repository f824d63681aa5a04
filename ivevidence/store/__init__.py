"""Measurements kept by the digest of what was measured."""
