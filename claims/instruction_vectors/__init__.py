"""Patches of Nonlinearity: Instruction Vectors in Large Language Models (arXiv:2602.07930)."""
