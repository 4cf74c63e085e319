"""The handle of a component's model: where it is from, its state, its training."""
