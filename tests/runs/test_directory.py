import logging
from pathlib import Path

import pytest

from kseg.config.train import RunOptions
from kseg.errors import KsegError
from kseg.runs.directory import EPOCH_LEVEL, RunDirectory, open_run, warn_if_inside


def test_a_run_leaves_the_logger_as_it_was(tmp_path, capsys):
    logger = logging.getLogger("kseg")
    before = (logger.level, logger.propagate, list(logger.handlers), logger.isEnabledFor(logging.INFO))
    with RunDirectory(tmp_path).logging():
        logger.info("an epoch")
        logger.warning("a warning")
    assert (logger.level, logger.propagate, list(logger.handlers), logger.isEnabledFor(logging.INFO)) == before
    assert capsys.readouterr().out == "an epoch\n\na warning\n"
    assert [line.split(" ", 2)[2] for line in (tmp_path / "train.log").read_text().splitlines()] == [
        "an epoch",
        "a warning",
    ]


@pytest.mark.parametrize("name", ["train.log", "seconds.csv", "predictions.png", "skipped.txt"])
def test_a_link_in_place_of_a_file_of_the_run_is_refused(tmp_path, name):
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KsegError, match=f"{name} is a link, and a run writes no file through one. Remove it."):
        open_run(RunOptions(run_dir=tmp_path), "shapes")
    assert not (tmp_path / "elsewhere").exists()


def test_a_run_directory_inside_the_data_set_is_named(tmp_path, caplog):
    warn_if_inside("shapes", tmp_path / "run")
    (tmp_path / "set").mkdir()
    warn_if_inside(str(tmp_path / "set"), tmp_path / "set-run")
    assert caplog.text == ""
    warn_if_inside(str(tmp_path / "set"), tmp_path / "set/runs/one")
    assert "runs/one is inside the data set" in caplog.text


def refuse(run):
    (run.path / "config.yaml").touch()
    with pytest.raises(KsegError, match="refused"), run.removed_if_refused(), run.logging():
        raise KsegError("refused")


def test_a_refused_run_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refuse(open_run(RunOptions(), "pictures"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "runs/other").mkdir(parents=True)
    refuse(open_run(RunOptions(run_dir=Path("runs/mine")), "pictures"))
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["other"]
    refuse(open_run(RunOptions(run_dir=Path("runs/mine")), "pictures"))  # it is not locked any more


def test_a_folder_that_was_there_or_in_which_training_began_stays(tmp_path):
    (tmp_path / "there").mkdir()
    refuse(open_run(RunOptions(run_dir=tmp_path / "there"), "pictures"))
    assert (tmp_path / "there/config.yaml").exists()
    run = open_run(RunOptions(run_dir=tmp_path / "new"), "pictures")
    run.history.write_text("epoch\n1\n")
    run.keep()
    refuse(run)
    assert run.history.exists()
    run = open_run(RunOptions(run_dir=tmp_path / "collapsed"), "pictures")
    run.keep()  # a run that collapses in its first epoch has its log alone
    refuse(run)
    assert run.log.exists()


def test_a_quiet_console_shows_epochs_and_warnings_and_the_log_has_all(tmp_path, capsys):
    with RunDirectory(tmp_path).logging("quiet") as logger:
        logger.info("details")
        logger.log(EPOCH_LEVEL, "an epoch")
        logger.warning("a warning")
    assert capsys.readouterr().out == "an epoch\n\na warning\n"
    assert "details" in (tmp_path / "train.log").read_text()
