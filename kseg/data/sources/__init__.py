"""Data sets as numbered examples: folders, TFDS, Hugging Face, built-in shapes."""
