"""Token trees as arrays: token ids, positions, attention masks and the KV cache."""
