"""Compare the layout of a folder with what a test expects."""

from kseg.data.layouts.find import find_layout


def relative_pairs(split, folder):
    """Return the pairs of a split as tuples of paths from the folder."""
    return split and [tuple(str(path.relative_to(folder)) for path in pair) for pair in split.pairs]


def check_layout(folder, training, validation, rule):
    """Check the pairs of a folder, each given as "image mask", and the rule of its layout."""
    layout = find_layout(folder)
    assert relative_pairs(layout.training, folder) == [tuple(pair.split()) for pair in training]
    assert relative_pairs(layout.validation, folder) == (validation and [tuple(pair.split()) for pair in validation])
    assert layout.rule == rule
