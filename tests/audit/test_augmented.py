import re

import numpy as np
import pytest

from kseg.audit.augmented import augmented_page
from kseg.commands import audit
from kseg.errors import KsegError
from tests.data.layouts.annotations.samples import LAYOUTS, write_files

pytestmark = pytest.mark.backend_free


def test_a_page_shows_images_beside_versions_of_each_preset(scenes, write, tmp_path, monkeypatch, capsys):
    folder = write(scenes(30))
    monkeypatch.chdir(tmp_path)
    assert audit.main([str(folder), "--show-augment"]) == 0
    assert "The pictures: audit-set/augment.html" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "audit-set").iterdir()] == ["augment.html"]
    html = (tmp_path / "audit-set/augment.html").read_text()
    assert re.findall("<h2>(.*?)</h2>", html) == ["light", "medium", "heavy"]
    assert "crops of 0.75 to 1 of the sides" in html
    pictures = re.findall('src="(.*?)"', html)
    assert len(pictures) == 3 * 4 * (1 + 5)
    assert len(set(pictures)) == 4 + 3 * 4 * 5  # the images are the same in each section
    assert all(picture.startswith("data:image/jpeg") for picture in pictures)
    assert not re.search(r"<script|url\(|@import|https?:", html)


def test_presets_are_chosen_by_name(scenes, write, tmp_path):
    arguments = [str(write(scenes(5))), "--output", str(tmp_path / "out"), "--show-augment", "heavy", "light"]
    assert audit.main(arguments) == 0
    assert re.findall("<h2>(.*?)</h2>", (tmp_path / "out/augment.html").read_text()) == ["heavy", "light"]


def test_images_with_foreground_are_shown_and_faulty_ones_passed_over(scenes, write):
    pairs = scenes(12)
    for stem in list(pairs)[:6]:
        pairs[stem] = (pairs[stem][0], np.zeros((64, 64), np.uint8))
    pairs["scene011"] = (pairs["scene011"][0], pairs["scene011"][1][:50])
    folder = write(pairs | {"alone": (pairs["scene000"][0], None)})
    (folder / "train/images/scene006.png").write_text("not a picture")
    html = augmented_page(f"{folder}/", ["light"])
    assert re.findall(r"scene(\d+)", html) == ["007", "008", "009", "010"]


def test_what_cannot_be_drawn_is_said(scenes, write, tmp_path, capsys):
    folder = write({stem: (image, mask[:50]) for stem, (image, mask) in scenes(3).items()})
    with pytest.raises(KsegError, match="No image of .* can be read together with its mask; kseg audit says why"):
        augmented_page(f"{folder}/", ["light"])
    assert audit.main([str(tmp_path / "nothing/"), "--show-augment"]) == 2
    assert audit.main([str(folder), "--show-augment", "--output", str(folder / "out")]) == 2
    assert "where kseg writes nothing" in capsys.readouterr().err
    assert not (folder / "out").exists()


@pytest.mark.parametrize("kind", sorted(LAYOUTS))
def test_drawn_masks_are_shown(kind, tmp_path):
    folder = write_files(tmp_path, LAYOUTS[kind])
    html = augmented_page(f"{folder}/", ["light"])
    assert len(re.findall("data:image/jpeg", html)) >= 6


def test_a_folder_of_files_has_no_splits(scenes, write):
    folder = write(scenes(3))
    with pytest.raises(KsegError, match="train_split train and val_split None are not allowed for the folder"):
        augmented_page(f"{folder}/", ["light"], train_split="train")


def test_the_bit_depth_decides_how_16_bits_become_8(write):
    deep = {f"s{index}": (np.full((32, 32), 900 + index, np.uint16), np.eye(32, dtype=np.uint8)) for index in range(3)}
    folder = write(deep)
    found, fixed = (augmented_page(f"{folder}/", ["light"], bit_depth=depth) for depth in ("auto", 16))
    assert found != fixed
    assert augmented_page(f"{folder}/", ["light"], bit_depth=10) == found
