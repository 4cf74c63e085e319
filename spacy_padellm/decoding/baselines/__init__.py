"""The paper's baselines: all mentions in the answer to one prompt."""
