"""What is kept and shown: records, store, figures, report."""
