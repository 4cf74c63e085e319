"""Quantized weights: how they are stored, computed with and copied."""
