"""How models attend: over packed and padded token trees, with their KV cache."""
