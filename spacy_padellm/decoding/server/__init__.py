"""Decoding on a model server."""
