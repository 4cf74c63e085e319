"""What a model folder from elsewhere may hold: code, patterns and values."""
