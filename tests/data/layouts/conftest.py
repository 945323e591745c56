import pytest
from PIL import Image


@pytest.fixture
def make_files(tmp_path):
    """A function that writes images, and text files (`x__y_txt="…"` writes x/y.txt), and returns their folder."""

    def make(*names, **texts):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4)).save(tmp_path / name) if not name.endswith(".npy") else (tmp_path / name).touch()
        for name, text in texts.items():
            path = tmp_path / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make
