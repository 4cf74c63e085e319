"""The task that a model was trained for, as its folder tells it."""
