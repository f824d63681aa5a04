"""The claims of the paper, one file a claim."""
