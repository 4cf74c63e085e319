"""What is measured: time, memory, forward passes, and shares of the time."""
