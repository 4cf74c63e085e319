"""What a pipeline finds in texts, for people who look."""
