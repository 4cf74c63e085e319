"""Training: what a model is to answer, its loss, and the steps."""
