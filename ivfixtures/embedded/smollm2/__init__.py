"""Adapters on a real pretrained model, and how they were trained."""
