"""From a source to batches: order, cache, augmentation."""
