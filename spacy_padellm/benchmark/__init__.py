"""The benchmark: every decoder and its peers side by side, in one run."""
