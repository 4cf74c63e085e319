"""Mentions, before they are spans of a Doc."""
