"""Decoding of separate sequences, many as one batch."""
