import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_file(tmp_path):
    """A function that writes an array, a picture or bytes to a file of a given name, and returns its path."""

    def write(name, content, **options):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif path.suffix == ".npy":
            np.save(path, content)
        else:
            (content if isinstance(content, Image.Image) else Image.fromarray(content)).save(path, **options)
        return str(path)

    return write
