"""What can be told from representations."""
