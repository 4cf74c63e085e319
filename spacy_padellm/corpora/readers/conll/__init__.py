"""CoNLL-like files: their layout, their columns and their sentences."""
