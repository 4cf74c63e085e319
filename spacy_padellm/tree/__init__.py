"""Token trees as numbers: tokens, positions, what sees what, and the cache."""
