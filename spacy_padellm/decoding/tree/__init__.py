"""Decoding as token trees."""
