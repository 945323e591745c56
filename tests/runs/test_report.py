from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from kseg.commands import report as command
from kseg.config.base import write_yaml
from kseg.config.train import TrainConfig
from kseg.errors import KsegError
from kseg.runs.directory import RunDirectory
from kseg.runs.report import audit_table, read_history, run_page

HISTORY = """epoch,loss,val_loss,f1,val_f1,val_f1_cat,val_f1_dog,finding
1,0.9,0.8,0.1,0.2,0.3,,
2,0.5,nan,0.3,0.4,0.5,0.6,all_background
"""


@pytest.fixture
def run(tmp_path):
    """The directory of a run that was killed after two of five epochs, before its first checkpoint."""
    config = TrainConfig(dataset="my <cats>", epochs=5, lr=0.01, image_size=(64, 96), mixed_precision="bfloat16")
    write_yaml(config, tmp_path / "config.yaml")
    (tmp_path / "history.csv").write_text(HISTORY)
    return RunDirectory(tmp_path)


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.links = [], []

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img", "br", "wbr", "line", "circle", "polyline", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("line", "circle", "polyline"):
            assert self.open.pop() == tag


def test_the_page_of_a_run_that_was_killed(run):
    page = run_page(run)
    tags = _Tags()
    tags.feed(page)
    assert not tags.open
    assert all(link.startswith("data:") for link in tags.links)
    assert "<script" not in page
    assert "my &lt;cats&gt;, 2 of 5 epochs: not finished" in page
    assert "<title>epoch 2: all_background</title>" in page
    assert "F1 of classes in validation" in page
    assert (
        "kseg train --dataset &#39;my &lt;cats&gt;&#39; --image-size 64 96 --mixed-precision bfloat16 "
        "--epochs 5 --lr 0.01" in page
    )


def test_the_command_makes_it_again(run, capsys):
    assert command.main([str(run.path)]) == 0
    assert f"The page: {run.report}" in capsys.readouterr().out
    assert "2 of 5 epochs" in run.report.read_text()


def test_history_is_read_as_it_was_written(run):
    rows, findings = read_history(run.history)
    assert rows[0] == {
        "epoch": 1, "loss": 0.9, "val_loss": 0.8, "f1": 0.1, "val_f1": 0.2, "val_f1_cat": 0.3, "val_f1_dog": None
    }  # fmt: skip
    assert findings == [(2, "all_background")]
    assert read_history(run.path / "none.csv") == ([], [])


def test_the_audit_of_the_data_is_a_table(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    rng = np.random.default_rng(0)
    for index in range(4):
        Image.fromarray(rng.integers(0, 256, (16, 16)).astype(np.uint8)).save(tmp_path / f"images/{index}.png")
        Image.fromarray(np.full((16, 16), 255 * (index > 0), np.uint8)).save(tmp_path / f"masks/{index}.png")
    (table,) = audit_table({"task": "binary", "foreground": [255]}, {"dataset": str(tmp_path)})
    assert table["heads"] == ["", "what", "effect", "remedy"]
    assert ["warning", "masks that are foreground everywhere: 3"] in [row[:2] for row in table["rows"]]


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    with pytest.raises(KsegError, match=r"holds no run; expected a folder that kseg train wrote"):
        run_page(RunDirectory(tmp_path))
    assert command.main([str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
