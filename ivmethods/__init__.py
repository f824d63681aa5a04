"""How it is measured: pure functions on tensors and arrays, one method a file."""
