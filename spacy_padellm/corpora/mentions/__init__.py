"""Mentions of a source put right: their offsets, their edges, several annotators."""
