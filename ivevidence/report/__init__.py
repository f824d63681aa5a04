"""The pages that a reviewer reads."""
