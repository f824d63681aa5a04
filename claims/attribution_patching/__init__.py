"""Attribution patching (Nanda 2023; Kramár et al. 2024, arXiv:2403.00745)."""
