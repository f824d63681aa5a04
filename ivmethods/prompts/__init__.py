"""What a model is run on: token ids, positions, and the tokens that are scored."""
