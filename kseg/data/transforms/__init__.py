"""Resizing and augmentation: arrays to arrays."""
