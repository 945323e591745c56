"""How a folder pairs images with masks."""
