"""Calibration, thresholds and promises, learnt on gold Docs."""
