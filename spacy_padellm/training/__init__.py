"""Training: the targets, their loss and the optimizer's steps."""
