"""Runs beside each other: expectations, differences, histories."""
