"""One image file or one mask file, read as an array."""
