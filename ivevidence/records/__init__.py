"""What a cell and a run leave behind, as data that checks itself."""
