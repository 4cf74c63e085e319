"""The texts that are worth annotating next."""
