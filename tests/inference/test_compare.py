import numpy as np
import pytest

from kseg.commands import compare as command
from kseg.errors import KsegError
from kseg.inference.compare import compare, read_scores
from kseg.inference.scores import mean_of_classes, ratios

pytestmark = pytest.mark.backend_free


def write(folder, counts, names=None, classes=("cell",)):
    """Write an `images.csv` with the counts of each image, `(images, classes, 4)`."""
    folder.mkdir(parents=True, exist_ok=True)
    names = names or [f"{index}.png" for index in range(len(counts))]
    heads = ["image", *(f"{kind}_{name}" for name in classes for kind in ("tp", "fp", "fn", "tn"))]
    rows = [[name, *(str(value) for one in image for value in one)] for name, image in zip(names, counts, strict=True)]
    (folder / "images.csv").write_text("\n".join(",".join(row) for row in [heads, *rows]) + "\n")
    return folder


@pytest.fixture
def counts():
    rng = np.random.default_rng(0)
    hits = rng.binomial(1000, rng.beta(8, 2, 60))
    return np.stack([hits, rng.integers(0, 300, 60), 1000 - hits, np.full(60, 9000)], axis=-1)[:, None]


def test_a_small_gain_on_every_image_is_certain_though_the_images_differ_far_more(counts, tmp_path):
    better = counts + np.array([10, 0, -10, 0])
    first, other = (read_scores(write(tmp_path / name, one)) for name, one in (("a", counts), ("b", better)))
    found = compare(first, other)
    low, high = found.interval
    assert 0 < low < found.f1 < high < 0.02
    alone = [mean_of_classes(ratios(one)["f1"]).std() / 60**0.5 for one in (counts, better)]
    assert high - low < 0.2 * 2 * 1.96 * np.hypot(*alone)  # unpaired intervals would be far wider
    assert len(found.better) == 60
    assert not found.worse


def test_chance_is_not_taken_for_a_gain(counts, tmp_path):
    noise = np.random.default_rng(1).integers(-30, 31, 60)
    other = counts.copy()
    other[:, 0, 0] += noise
    other[:, 0, 2] -= noise
    found = compare(*(read_scores(write(tmp_path / name, one)) for name, one in (("a", counts), ("b", other))))
    assert found.interval[0] < 0 < found.interval[1]
    assert len(found.better) + len(found.worse) + (noise == 0).sum() == 60


def test_images_are_matched_by_name_and_listed_by_how_far_they_changed(counts, tmp_path, capsys):
    write(tmp_path / "a", counts[:3], ["x", "y", "z"])
    changed = counts[:3] + np.array([[[5, 0, -5, 0]], [[-60, 0, 60, 0]], [[40, 0, -40, 0]]])
    write(tmp_path / "b/evaluation", changed[::-1], ["z", "y", "x"])
    found = compare(read_scores(tmp_path / "a"), read_scores(tmp_path / "b"))
    assert [name for name, _ in found.better] == ["z", "x"]
    assert [name for name, _ in found.worse] == ["y"]
    assert command.main([str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    output = capsys.readouterr().out
    assert "95% interval" in output
    assert f"Better in {tmp_path}/b: z  +0." in output
    assert "The interval contains 0: the difference may be chance." in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": ("cat",)}, "tell different classes apart: cell, and cat. They cannot be compared"),
        ({"names": ["0.png", "other.png"]}, r"scored on different images: 1.png and 1 more are in one alone"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments, message, counts, tmp_path):
    one, other = write(tmp_path / "a", counts[:2]), write(tmp_path / "b", counts[:2], **arguments)
    with pytest.raises(KsegError, match=message):
        compare(read_scores(one), read_scores(other))


def test_a_run_without_scores_is_told_how_to_get_them(tmp_path, capsys):
    assert command.main([str(tmp_path), str(tmp_path)]) == 2
    assert f"holds no images.csv. Score the run first: kseg evaluate {tmp_path}/best.keras" in capsys.readouterr().err
    (tmp_path / "images.csv").write_text("image,score\na,1\n")
    assert command.main([str(tmp_path), str(tmp_path)]) == 2
    assert "has no columns such as tp_foreground" in capsys.readouterr().err
    assert command.main([str(tmp_path)]) == 2
    assert "There is nothing to compare" in capsys.readouterr().err
