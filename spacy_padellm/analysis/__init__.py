"""What a model gets wrong: `evaluate`, `analyze` and `tune` on gold Docs."""
