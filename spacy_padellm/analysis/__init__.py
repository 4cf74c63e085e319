"""What a model gets wrong: the paper's error analysis (appendix E) for any model."""
