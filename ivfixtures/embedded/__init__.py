"""Our own models, and how they were made."""
