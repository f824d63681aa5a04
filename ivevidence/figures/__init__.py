"""Figures as data, and how each kind is drawn."""
