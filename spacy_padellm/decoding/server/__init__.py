"""Decoding by a model server."""
