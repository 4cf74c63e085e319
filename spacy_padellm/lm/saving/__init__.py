"""Saving a model: its folder, and where that may be."""
