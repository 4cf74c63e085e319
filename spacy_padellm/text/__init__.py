"""From Docs to the texts that a model reads, and from its mentions back to spans."""
