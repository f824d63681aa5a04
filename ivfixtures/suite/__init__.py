"""What pytest runs: options, cells, rules, expectations, outputs."""
