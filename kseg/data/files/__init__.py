"""Read one image file or one mask file as an array."""
