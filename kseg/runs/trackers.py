"""The trackers of a run."""

from kseg.callbacks.trackers import TRACKERS, Tracker
from kseg.config.train import RunOptions, TrainConfig
from kseg.runs.directory import RunDirectory


def make_trackers(run: RunDirectory, options: RunOptions, config: TrainConfig) -> list[Tracker]:
    """Return the trackers that the settings name, each with a folder of its own in that of the run.

    Raises:
        KsegError: the package of one is not installed.
    """
    files = {"predictions": run.pictures, "report": run.report, "settings": run.config, "model": run.best}
    return [TRACKERS[name](run.path / name, config.settings(), files) for name in options.track]
