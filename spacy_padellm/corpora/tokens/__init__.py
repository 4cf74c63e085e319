"""Tokens of a source: their tags, and the text that they are joined into."""
