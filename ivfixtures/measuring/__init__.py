"""Measurements asked for once, planned, stored, or made elsewhere."""
