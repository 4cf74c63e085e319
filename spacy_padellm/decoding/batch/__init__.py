"""Decoding of separate sequences, several texts as one batch."""
