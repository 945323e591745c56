"""A source, read outside of a pipeline."""


def decoded(source, key=None):
    """Tuples of index, image and mask, in the source's order or in that of a key."""
    return [(index, *source.read(index, *content)) for index, *content in source.examples(key)]


def indices(source, key=None):
    """The order of a source, or of a key."""
    return [index for (index,) in source.indices(key)]
