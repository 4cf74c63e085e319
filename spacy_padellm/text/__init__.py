"""Docs cut into texts for the model, and its mentions aligned to spans of the Docs."""
