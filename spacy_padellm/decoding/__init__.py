"""Decoders: texts and labels in, mentions out."""
