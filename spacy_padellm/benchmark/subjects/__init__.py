"""What is compared: models and pipelines, with the decoders that run on them."""
