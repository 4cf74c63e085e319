"""The device of a model: choose it, copy numbers to it, and keep its memory small."""
