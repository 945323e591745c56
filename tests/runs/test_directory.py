import logging

from kseg.runs.directory import RunDirectory


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
