"""The scores of a pipe on a corpus."""
