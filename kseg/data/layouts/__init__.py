"""Find which mask belongs to which image in a folder."""
