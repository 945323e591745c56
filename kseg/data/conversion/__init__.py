"""Any data set as a few large files that TFDS reads."""
