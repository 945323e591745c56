"""Send a run to TensorBoard, MLflow or Weights & Biases: values of each epoch, findings, settings, files at the end.

Each needs its package, and writes to this machine unless it is told otherwise. A tracker that fails says so once and is
silent from then on; it never ends a run.
"""

import importlib.util
import logging
import math
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import keras

from kseg.checkpoints import Logs
from kseg.diagnosis.rules import cause_of
from kseg.errors import KsegError
from kseg.processes import is_first

_log = logging.getLogger("kseg")

TrackerName = Literal["tensorboard", "mlflow", "wandb"]


class Tracker(keras.callbacks.Callback, ABC):
    """What all trackers share: when something is sent, and that an error in it costs the run nothing.

    Of several processes the first one sends.

    Args:
        folder: where it writes.
        settings: of the run, as plain values.
        files: files to send when the run ends, as far as they are there then.

    Raises:
        KsegError: a package that it needs is not installed.
    """

    async_safe = True  # it needs no values at a batch's end
    packages: tuple[str, ...] = ()
    """What has to be installed."""

    def __init__(
        self, folder: str | Path, settings: Mapping[str, Any] | None = None, files: Mapping[str, Path] | None = None
    ) -> None:
        super().__init__()
        if missing := [name for name in self.packages if importlib.util.find_spec(name) is None]:
            names = ", ".join(missing)
            raise KsegError(
                f"{type(self).__name__} needs {names}, which is not installed: pip install 'kseg[trackers]'"
            )
        self.folder = Path(folder)
        self._settings, self._files = dict(settings or {}), dict(files or {})
        self._works, self._is_open = is_first(), False
        self.run_id = ""
        """By what the tracker knows the run."""

    def get_state(self) -> dict[str, Any]:
        """Return what `RunCheckpoint` remembers, so that a resumed run goes on in the same place."""
        return {"run_id": self.run_id}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on with a run."""
        self.run_id = state["run_id"]

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Send the finite values of an epoch, counted from 1, and what was found."""
        logs = logs or {}
        values = {name: float(value) for name, value in logs.items() if name != "finding" and math.isfinite(value)}
        self._try(self.send, epoch + 1, values, cause_of(logs.get("finding", 0.0)))

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the run there; if files were named, `finish` does."""
        if not self._files:
            self.finish()

    def finish(self) -> None:
        """Send the files, and close the run there; after `fit`, when they are written."""
        self._try(self.close, {name: path for name, path in self._files.items() if path.exists()})

    def _try(self, action: Any, *arguments: Any) -> None:
        if not self._works:
            return
        try:
            # Not before training begins: only then `RunCheckpoint` knows which run it goes on with.
            if not self._is_open:
                self.begin(self._settings)
                self._is_open = True
            action(*arguments)
        except Exception as error:  # whatever a network, a disk or a package raises
            self._works = False
            reason = str(error).partition("\n")[0] or type(error).__name__
            _log.warning(f"⚠️  {type(self).__name__} failed and is left out from now on; the run goes on: {reason}")

    @abstractmethod
    def begin(self, settings: Mapping[str, Any]) -> None:
        """Open the run, or go on with `run_id`."""

    @abstractmethod
    def send(self, epoch: int, values: Mapping[str, float], finding: str) -> None:
        """Send the values of an epoch, and the cause that was found in it, or an empty text."""

    @abstractmethod
    def close(self, files: Mapping[str, Path]) -> None:
        """Send files by their name, pictures, pages, the model, and close the run."""


class TensorBoardTracker(Tracker):
    """Writes event files that `tensorboard --logdir` shows: values, findings, settings as text, and the pictures.

    Example::

        model.fit(…, callbacks=[kseg.callbacks.TensorBoardTracker("runs/mine/tensorboard")])
    """

    packages = ("tensorboard", "tensorflow")

    def begin(self, settings: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        import tensorflow as tf

        self._writer = tf.summary.create_file_writer(str(self.folder))
        with self._writer.as_default():
            rows = "\n".join(f"| {name} | {value} |" for name, value in settings.items())
            tf.summary.text("settings", f"| setting | value |\n| --- | --- |\n{rows}", step=0)

    def send(self, epoch: int, values: Mapping[str, float], finding: str) -> None:
        """See `Tracker`."""
        import tensorflow as tf

        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.scalar(name, value, step=epoch)
            if finding:
                tf.summary.text("finding", finding, step=epoch)
        self._writer.flush()

    def close(self, files: Mapping[str, Path]) -> None:
        """See `Tracker`; TensorBoard takes pictures alone."""
        import tensorflow as tf

        with self._writer.as_default():
            for name, path in files.items():
                if path.suffix == ".png":
                    picture = tf.io.decode_png(path.read_bytes(), channels=3)
                    tf.summary.image(name, picture[None], step=0)
        self._writer.close()


class MLflowTracker(Tracker):
    """Writes an MLflow run into a store on this machine, `mlflow.db` in the folder, or to `tracking_uri`.

    Args:
        folder, settings, files: see `Tracker`.
        tracking_uri: such as `http://host:5000`; None: the store on this machine.
        experiment: the name of the experiment.
    """

    packages = ("mlflow",)

    def __init__(
        self,
        folder: str | Path,
        settings: Mapping[str, Any] | None = None,
        files: Mapping[str, Path] | None = None,
        *,
        tracking_uri: str | None = None,
        experiment: str = "kseg",
    ) -> None:
        super().__init__(folder, settings, files)
        self._uri, self._experiment = tracking_uri, experiment

    def begin(self, settings: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        from mlflow import MlflowClient

        self.folder.mkdir(parents=True, exist_ok=True)
        self._client = MlflowClient(self._uri or f"sqlite:///{self.folder.resolve()}/mlflow.db")
        if self.run_id:
            return
        found = self._client.get_experiment_by_name(self._experiment)
        artifacts = None if self._uri else (self.folder.resolve() / "artifacts").as_uri()
        number = found.experiment_id if found else self._client.create_experiment(self._experiment, artifacts)
        self.run_id = self._client.create_run(number).info.run_id
        for name, value in settings.items():
            self._client.log_param(self.run_id, name, str(value)[:500])

    def send(self, epoch: int, values: Mapping[str, float], finding: str) -> None:
        """See `Tracker`."""
        for name, value in values.items():
            self._client.log_metric(self.run_id, name, value, step=epoch)
        if finding:
            self._client.set_tag(self.run_id, f"finding.epoch{epoch}", finding)

    def close(self, files: Mapping[str, Path]) -> None:
        """See `Tracker`."""
        for path in files.values():
            self._client.log_artifact(self.run_id, str(path))
        self._client.set_terminated(self.run_id)


class WandbTracker(Tracker):
    """Writes a Weights & Biases run, offline unless `WANDB_MODE` says otherwise; `wandb sync` sends it later.

    Args:
        folder, settings, files: see `Tracker`.
        project: the name of the project.
    """

    packages = ("wandb",)

    def __init__(
        self,
        folder: str | Path,
        settings: Mapping[str, Any] | None = None,
        files: Mapping[str, Path] | None = None,
        *,
        project: str = "kseg",
    ) -> None:
        super().__init__(folder, settings, files)
        self._project = project

    def begin(self, settings: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        import wandb

        self.folder.mkdir(parents=True, exist_ok=True)
        self.run_id = self.run_id or secrets.token_hex(4)
        self._run = wandb.init(
            project=self._project,
            id=self.run_id,
            dir=str(self.folder),
            config=dict(settings),
            mode=None if "WANDB_MODE" in os.environ else "offline",
            resume="allow",
            settings=wandb.Settings(console="off", silent=True),
        )

    def send(self, epoch: int, values: Mapping[str, float], finding: str) -> None:
        """See `Tracker`."""
        self._run.log({**values, **({"finding": finding} if finding else {})}, step=epoch)

    def close(self, files: Mapping[str, Path]) -> None:
        """See `Tracker`."""
        import wandb

        for name, path in files.items():
            if path.suffix == ".png":
                self._run.log({name: wandb.Image(str(path))})
            else:
                self._run.save(str(path), base_path=str(path.parent), policy="now")
        self._run.finish()


TRACKERS: dict[str, type[Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "mlflow": MLflowTracker,
    "wandb": WandbTracker,
}
"""The trackers by their name."""
