import json
import re

import numpy as np
import pytest
from PIL import Image, ImageFilter

from kseg.audit import audit
from kseg.audit.page import page
from kseg.data.conversion.convert import convert
from kseg.errors import KsegError
from tests.audit.conftest import scene

pytestmark = pytest.mark.backend_free


def causes_of(report):
    return {finding.cause: set(finding.files) for finding in report.findings}


def severities(report):
    return {finding.cause: finding.severity for finding in report.findings}


def test_clean_data_has_no_findings(scenes, write):
    write(scenes(10, "other"), "val")
    report = audit(f"{write(scenes(40))}/")
    assert report.findings == []
    assert report.status == 0
    assert report.alignment.better > 0.95
    assert str(report).splitlines()[0].endswith("set/: nothing found")


def plant_files(write, folder, rng):
    """What is wrong with files, and the checks that have to find them."""
    image, mask = scene(rng)
    write({"lonely": (image, None), "orphan": (None, scene(rng)[1])})
    write({"twice": scene(rng)})
    Image.fromarray(image).save(folder / "train/images/twice.webp")
    write({"cut": scene(rng), "text": scene(rng), "jpeg": scene(rng)})
    whole = (folder / "train/images/cut.png").read_bytes()
    (folder / "train/images/cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "train/masks/text.png").write_text("not a picture")
    Image.fromarray(scene(rng)[0]).save(folder / "train/images/jpeg.png", format="JPEG", quality=95)
    write({"cropped": (scene(rng)[0], mask[:50])})
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, size in (("turned", (64, 72)), ("upside", (64, 64))):
        write({f"{name}.jpg": scene(rng, size)}, exif=exif, quality=95)  # drawn on the stored pixels
    return {
        "missing_masks": {"train/images/lonely.png"},
        "missing_images": {"train/masks/orphan.png"},
        "same_stem": {"train/images/twice.webp"},
        "unreadable": {"train/images/cut.png", "train/masks/text.png"},
        "mislabelled": {"train/images/jpeg.png"},
        "size_mismatch": {"train/images/cropped.png"},
        "exif_rotation": {"train/images/turned.jpg", "train/images/upside.jpg"},
    }


def plant_masks(write, rng):
    """What is wrong with masks."""

    def masked(name, change):
        image, mask = scene(rng)
        write({name: (image, change(mask))})
        return {f"train/masks/{name}.png"}

    def with_specks(mask):
        mask[:6], mask[1, 1], mask[3, 3:5] = 0, 255, 255
        return mask

    def soft(mask):
        return np.asarray(Image.fromarray(mask).resize((32, 32)).resize((64, 64), Image.Resampling.BILINEAR))

    return {
        "mixed_values": masked("ones", lambda mask: mask // 255),
        "soft_masks": masked("soft", soft),
        "unexpected_values": masked("seven", lambda mask: np.where(mask, 255, 7 * np.eye(64)).astype(np.uint8)),
        "empty_masks": masked("empty", np.zeros_like),
        "full_masks": masked("full", lambda mask: np.full_like(mask, 255)),
        "inverted_masks": masked("inverted", lambda mask: 255 - mask),
        "specks": masked("specks", with_specks),
    }


def plant_images(write, rng):
    """What is wrong with images."""
    images = {name: scene(rng) for name in ("same", "like", "leaked", "near", "flat", "black", "grey", "bits")}
    grey = {name: images[name][0].mean(-1).astype(np.uint8) for name in ("grey", "bits")}
    write({name: images[name] for name in ("same", "like", "leaked", "near")})
    write({"same2": images["same"]})
    write({"like2.jpg": images["like"]}, quality=80)
    write({"leaked": images["leaked"]}, "val")
    write({"near.jpg": images["near"]}, "val", quality=80)
    write({"flat": (np.full((64, 64, 3), 90, np.uint8), images["flat"][1])})
    write({"black": (images["black"][0] // 64, images["black"][1])})
    write({"grey": (grey["grey"], images["grey"][1]), "bits": (grey["bits"] > 100, images["bits"][1])})
    write({"long": scene(rng, (64, 200))})
    return {
        "duplicate": {"train/images/same.png", "train/images/same2.png"},
        "near_duplicate": {"train/images/like.png", "train/images/like2.jpg"},
        "leak": {"train/images/leaked.png", "val/images/leaked.png"},
        "near_leak": {"train/images/near.png", "val/images/near.jpg"},
        "constant_images": {"train/images/flat.png"},
        "black_images": {"train/images/black.png"},
        "mixed_channels": {"train/images/grey.png", "train/images/bits.png"},
        "mixed_depths": {"train/images/bits.png"},
        "odd_aspect": {"train/images/long.png"},
    }


def test_every_fault_is_found_with_its_files_and_nothing_else(scenes, write, rng):
    shuffled = scenes(120)
    masks = [mask for _, mask in shuffled.values()]
    pairs = zip(shuffled, shuffled.values(), [*masks[1:], masks[0]], strict=True)
    folder = write({stem: (image, mask) for stem, (image, _), mask in pairs})
    planted = plant_files(write, folder, rng) | plant_masks(write, rng) | plant_images(write, rng)
    report = audit(f"{folder}/")
    seen = causes_of(report)
    assert f"train/masks/{next(iter(shuffled))}.png" in seen.pop("shuffled_masks")
    assert seen == planted
    assert report.status == 1

    html = page(report)
    for check, files in planted.items():
        assert f"<code>{check}</code>" in html
        assert all(file.rpartition("/")[2] in html for file in files)
    held = json.loads(report.as_json())
    assert {finding["cause"]: finding["count"] for finding in held["findings"]}["mixed_channels"] == 2
    assert all(finding["effect"] and finding["remedy"] for finding in held["findings"])


def masks_of(write, *shares, values=(0, 255)):
    """A set whose masks have these shares of foreground, one after the other."""
    rng = np.random.default_rng(3)
    pairs = {}
    for index, share in enumerate(shares):
        mask = np.full((64, 64), values[0], np.uint8)
        mask.ravel()[: round(share * mask.size)] = values[1]
        pairs[f"{index:03}"] = (scene(rng)[0], mask)
    return f"{write(pairs)}/"


@pytest.mark.parametrize(
    ("shares", "check", "severity"),
    [
        ((0, 0, 0), "empty_masks", "error"),
        ((0.01, 0.02, 0.01), "rare_foreground", "note"),
        ((0, 0, 0.3), "empty_masks", "warning"),
        ((0, 0.3, 0.3), "empty_masks", "note"),
        ((0.9, 0.95, 0.97), "mostly_foreground", "warning"),
    ],
)
def test_what_is_so_of_the_whole_set(write, shares, check, severity):
    assert severities(audit(masks_of(write, *shares))) == {check: severity}


def test_the_numbers_are_those_of_the_masks(write):
    report = audit(masks_of(write, 0, 0.125, 0.25, 0.375, 0.5))
    assert list(report.shares.values()) == [0, 0.125, 0.25, 0.375, 0.5]
    facts = report.facts()
    assert facts["foreground"] == "mean 25.00%; quartiles 12.50%, 25.00%, 37.50%"
    assert facts["sizes"] == "64 x 64 (5)  (width x height)"
    assert facts["empty"] == "1 of 5 masks (20%)"


def test_255_beside_classes_is_ignored_and_counts_neither_way(scenes, write):
    image, _ = scene(np.random.default_rng(0))
    mask = np.zeros((64, 64), np.uint8)
    mask[:16], mask[16:32] = 1, 255
    nothing_else = np.where(mask == 255, 255, 0).astype(np.uint8)
    more = {stem: (image, mask) for stem, (image, _) in scenes(3).items()}
    report = audit(f"{write(more | {'a': (image, nothing_else)})}/")
    assert "mixed_values" not in causes_of(report)
    assert list(report.shares.values()) == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3])


def test_a_mask_with_a_class_beside_255_is_found_among_white_ones(scenes, write):
    image, mask = scene(np.random.default_rng(0))
    mask[0, 0] = 1
    report = audit(f"{write(scenes(4) | {'slip': (image, mask)})}/")
    assert causes_of(report)["unexpected_values"] == {"train/masks/slip.png"}
    assert report.rule.values == (255,)


def test_soft_edges_are_no_fault_where_they_are_read_at_128(scenes, write):
    blurred = {
        stem: (image, np.asarray(Image.fromarray(mask).filter(ImageFilter.GaussianBlur(1))))
        for stem, (image, mask) in scenes(4).items()
    }
    folder = f"{write(blurred)}/"
    assert len(causes_of(audit(folder))["soft_masks"]) == 4
    report = audit(folder, foreground="white")
    assert "soft_masks" not in causes_of(report)
    assert not report.classes
    assert list(report.shares.values()) == [float((mask >= 128).mean()) for _, mask in blurred.values()]


def test_what_is_set_is_the_rule(write):
    folder = masks_of(write, 0.25, 0.5, values=(2, 3))
    assert list(audit(folder, foreground=(3,)).shares.values()) == [0.25, 0.5]
    assert list(audit(folder, foreground=(2,)).shares.values()) == [0.75, 0.5]
    assert set(audit(folder, foreground="any").shares.values()) == {1}


def test_instance_numbers_and_common_classes_are_as_they_should_be(write, scenes):
    def numbered(mask, index):
        return np.where(mask, 1 + np.arange(64)[None] // 8 + index, 0).astype(np.uint8)

    pairs = {s: (image, numbered(mask, i)) for i, (s, (image, mask)) in enumerate(scenes(80).items())}
    assert causes_of(audit(f"{write(pairs)}/")) == {}


def test_sixteen_bits_are_told_from_the_header(write, scenes):
    image, mask = next(iter(scenes(1).values()))
    write(scenes(3))
    folder = write({"deep": (image[..., 0].astype(np.uint16) * 257, mask)})
    assert causes_of(audit(f"{folder}/"))["mixed_depths"] == {"train/images/deep.png"}


def test_a_mask_that_fits_a_turned_image_as_it_is_shown_is_none(write, rng):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture, mask = scene(rng, (64, 72))
    folder = write({"turned.jpg": (picture, np.rot90(mask, -1).copy())}, exif=exif, quality=95)
    assert causes_of(audit(f"{folder}/")) == {}


@pytest.mark.slow
def test_processes_see_what_one_sees(scenes, write):
    folder = f"{write(scenes(70))}/"
    one, two = audit(folder, workers=1), audit(folder, workers=2)
    assert one.shares == two.shares
    assert [pair.image.statistics.digest for pair in one.pairs] == [pair.image.statistics.digest for pair in two.pairs]
    assert one.pictures == two.pictures
    assert len(one.pictures) == 12


def test_nothing_in_a_folder_is_touched(scenes, write):
    folder = write(scenes(3))
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}
    audit(f"{folder}/")
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")} == before


def test_the_page_runs_nothing_fetches_nothing_and_escapes_names(write, rng):
    folder = write({"<script>alert(1)<": scene(rng), "a&b": (scene(rng)[0], None)})
    html = page(audit(f"{folder}/"))
    assert "<script" not in html
    assert "images/<wbr>&lt;script&gt;alert(1)&lt;.png" in html
    assert "images/<wbr>a&amp;b.png" in html
    sources = re.findall(r'(?:src|href)="([^"]{,16})', html)
    assert sources
    assert all(source.startswith("data:image/jpeg") for source in sources)
    assert not re.search(r"url\(|@import|https?:", html)


@pytest.mark.slow
def test_the_built_in_data_set(tmp_path):
    report = audit("shapes", data_dir=tmp_path)
    assert report.facts()["pairs"] == "600 (train 500, val 100)"
    assert {check for check, severity in severities(report).items() if severity != "note"} == set()
    assert 90 < len(causes_of(report)["empty_masks"]) < 150
    assert report.alignment.better > 0.8
    assert all(report.pictures.values())


@pytest.mark.slow
def test_a_split_of_tfds_is_audited_alone(scenes, write, tmp_path):
    write(scenes(8))
    convert(str(write(scenes(4, "other"), "val")), tmp_path / "cells/1.0.0")
    settings = {"train_split": "train[:3]", "val_split": "validation[:2]"}
    assert audit(str(tmp_path / "cells/1.0.0"), **settings).facts()["pairs"] == "5 (train 3, val 2)"
    with pytest.raises(KsegError, match="train_split None and val_split val are not allowed for the built-in shapes"):
        audit("shapes", val_split="val")


def test_a_folder_of_files_has_no_splits_to_audit(scenes, write):
    with pytest.raises(KsegError, match="train_split None and val_split val are not allowed for the folder"):
        audit(str(write(scenes(3))), val_split="val")


def test_classes_are_counted_and_those_that_a_split_does_not_have_are_found(scenes, write):
    def with_class(pair, value):
        return pair[0], np.where(pair[1] == 255, value, 0).astype(np.uint8)

    training = {name: with_class(pair, 1 + index % 3) for index, (name, pair) in enumerate(scenes(9).items())}
    validation = {
        name: with_class(pair, 1 + index % 2) for index, (name, pair) in enumerate(scenes(6, "other").items())
    }
    write(training)
    report = audit(str(write(validation, "val")), workers=1)
    (finding,) = report.findings
    assert (finding.cause, finding.severity, finding.count) == ("missing_classes", "warning", 3)
    assert set(finding.details) == {"has 3, which no mask of val has"}
    masks = [mask for _, mask in (*training.values(), *validation.values())]
    pixels = {value: sum((mask == value).sum() for mask in masks) for value in (1, 2, 3)}
    assert [counted.pixels for counted in report.classes] == list(pixels.values())
    assert report.pixels == sum(mask.size for mask in masks)
    share = pixels[3] / report.pixels
    assert f"3: {share:.2%}, in 3 masks" in report.facts()["classes"]
    assert json.loads(report.as_json())["classes"]["3"]["masks"] == 3


def test_one_class_and_instance_numbers_have_no_counts(scenes, write):
    assert audit(str(write(scenes(4))), workers=1).classes == []
