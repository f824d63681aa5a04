"""How a model is run: one handle for every architecture, and what is read off its logits."""
