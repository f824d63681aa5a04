"""Pytest options, fixtures and hooks of the suite."""
