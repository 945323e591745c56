"""Decoders: models from images to logits."""
