"""Prompts: their templates and their tokens."""
