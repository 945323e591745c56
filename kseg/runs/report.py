"""The page of a run: what was run, how it went, what came out. Made at its end, and again by `kseg report`."""

import base64
import csv
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kseg.checkpoints import TrainingState, checkpoints_in, read_state
from kseg.config.base import read_yaml
from kseg.config.evaluate import EvaluateConfig
from kseg.config.train import TrainConfig
from kseg.errors import KsegError
from kseg.metadata import Metadata
from kseg.reports.charts import line_chart
from kseg.reports.page import Picture, render
from kseg.runs.directory import RunDirectory
from kseg.runs.messages import resume_command
from kseg.runs.places import data_of_model
from kseg.storage.atomic import explain_write_errors, write_atomically

Rows = Sequence[Mapping[str, float | None]]

_NO_EVALUATION: dict[str, Any] = {"tables": [], "galleries": [], "wide": None, "scatters": []}


def run_page(run: RunDirectory, evaluation: Mapping[str, Any] | None = None) -> str:
    """Return the page of a run, finished or not, as HTML.

    Args:
        run: its directory.
        evaluation: what to show of an evaluation of its best model; without it the pictures that the run drew.

    Raises:
        KsegError: there is no run in this directory.
    """
    if not run.config.exists():
        raise KsegError(f"{run.path} holds no run; expected a folder that kseg train wrote, with config.yaml in it.")
    settings = read_yaml(run.config)
    rows, findings = read_history(run.history)
    state = _newest_state(run.path)
    parts = dict(evaluation or _NO_EVALUATION)
    if evaluation is None and run.pictures.exists():
        data = base64.b64encode(run.pictures.read_bytes()).decode()
        parts["wide"] = Picture(
            f"data:image/png;base64,{data}", "", "Predictions of the best model, on validation images"
        )
    parts["tables"] = [*_class_table(state, rows), *parts["tables"]]
    return render(
        "run.html",
        title=f"Run {run.path.name}",
        about=_about(settings, rows),
        facts=_facts(settings, rows, state),
        findings=[{"epoch": epoch, "cause": cause} for epoch, cause in findings],
        charts=_charts(rows, findings),
        commands=_commands(run, settings),
        settings=yaml.safe_dump(settings, sort_keys=False),
        **parts,
    )


def write_report(run: RunDirectory, evaluation: Mapping[str, Any] | None = None) -> None:
    """Write the page of a run into its directory; see `run_page`."""
    text = run_page(run, evaluation)
    with explain_write_errors(run.path):
        write_atomically(run.report, lambda path: path.write_text(text, encoding="utf-8", errors="backslashreplace"))


def evaluate_run(run: RunDirectory) -> dict[str, Any]:
    """Evaluate the best model of a run on its validation images, and return what the page shows of it.

    Raises:
        KsegError: the run was not started here, or its data set cannot be read.
    """
    from kseg.inference.evaluate import evaluate
    from kseg.inference.evaluation_files import write_files
    from kseg.inference.evaluation_page import evaluation_parts

    data = {name: value for name, value in data_of_model(run.best_or_last).items() if value is not None}
    evaluation = evaluate(run.best_or_last, EvaluateConfig(**data))
    write_files(evaluation, run.evaluation)
    parts = evaluation_parts(evaluation, run.evaluation / "evaluation.png")
    return parts | {"tables": [*parts["tables"], *audit_table(read_yaml(run.config), data)]}


def audit_table(settings: Mapping[str, Any], data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what the audit of a run's data set finds, as a table; none if it finds nothing.

    Args:
        settings: of the run.
        data: the data set and the splits, by the names of the settings.
    """
    from kseg.audit import audit

    opening = {name: settings[name] for name in ("bit_depth", "colours") if name in settings}
    foreground = settings.get("foreground", "auto") if settings.get("task") == "binary" else "auto"
    labels = settings.get("task") == "multilabel"
    found = audit(**{**data, **opening, "foreground": foreground, "multilabel": labels})
    rows = [[one.severity, f"{one.evidence}: {one.count}", one.effect, one.remedy] for one in found.findings]
    heads = ["", "what", "effect", "remedy"]
    return [{"title": "What the audit of the data finds", "heads": heads, "rows": rows}] if rows else []


def read_history(path: Path) -> tuple[list[dict[str, float | None]], list[tuple[int, str]]]:
    """Return the rows of a `history.csv`, a dict an epoch, and its findings: epoch and cause. An empty cell is None."""
    if not path.exists():
        return [], []
    with path.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    causes = [row.pop("finding", "") for row in rows]
    findings = [(int(row["epoch"]), cause) for row, cause in zip(rows, causes, strict=True) if cause]
    return [{name: float(text) if text else None for name, text in row.items()} for row in rows], findings


def _newest_state(folder: Path) -> TrainingState:
    for checkpoint in checkpoints_in(folder):
        try:
            return read_state(checkpoint)
        except KsegError:  # damaged; an older one may not be
            continue
    return TrainingState()


def _about(settings: Mapping[str, Any], rows: Rows) -> str:
    done, planned = len(rows), settings.get("epochs", 0)
    return f"{settings.get('dataset')}, {done} of {planned} epochs" + ("" if done == planned else ": not finished")


def _facts(settings: Mapping[str, Any], rows: Rows, state: TrainingState) -> list[tuple[str, str]]:
    metadata = Metadata.read(state.metadata) if state.metadata else None
    best = state.best_epoch
    facts = []
    if metadata:
        facts.append(("Task", str(metadata.task)))
    if state.data:
        facts.append(("Data", state.data))
    if best:
        score = f"{best[state.score]:.4f} in epoch {best['epoch']}"
        facts.append(
            ("Best validation F1", score + (f" at threshold {state.threshold:.3g}" if state.threshold else ""))
        )
    images = metadata.image_size if metadata else None
    if images:
        facts.append(
            ("Images", f"{images[1]} x {images[0]}, {settings.get('resize')}, {settings.get('augment')} augmentation")
        )
    facts.append(
        ("Loss", f"{settings.get('loss')}, learning rate {settings.get('lr')}, batches of {settings.get('batch_size')}")
    )
    if state.made_with:
        facts.append(("Made with", ", ".join(f"{name} {version}" for name, version in state.made_with.items())))
    return facts


def _charts(rows: Rows, findings: Sequence[tuple[int, str]]) -> list[Any]:
    if not rows:
        return []

    def values(*names: str) -> dict[str, list[float | None]]:
        return {name: [row.get(name) for row in rows] for name in names if name in rows[0]}

    by_class = [name for name in rows[0] if name.startswith("val_f1_")][:5]
    named = {name.removeprefix("val_f1_"): series for name, series in values(*by_class).items()}
    drawn = [
        ("Loss", values("loss", "val_loss"), None),
        ("F1, and the best F1 over all thresholds", values("f1", "val_f1", "val_best_f1"), 1.0),
        ("IoU, precision and recall in validation", values("val_iou", "val_precision", "val_recall"), 1.0),
        ("F1 of classes in validation", named, 1.0),
        ("Gap: how far foreground and background logits are apart", values("gap", "val_gap"), None),
        ("Learning rate at the end of each epoch", values("learning_rate"), None),
    ]
    return [line_chart(title, series, findings, top=top) for title, series, top in drawn if series]


def _class_table(state: TrainingState, rows: Rows) -> list[dict[str, Any]]:
    """Return the scores of the classes in the best epoch, or none if there is one class."""
    names = [name.removeprefix("val_f1_") for name in (rows[0] if rows else ()) if name.startswith("val_f1_")]
    best = state.best_epoch
    if not names or not best:
        return []
    scores = ("f1", "iou", "precision", "recall")
    lines = [[name, *(_cell(best.get(f"val_{score}_{name}")) for score in scores)] for name in names]
    title = f"Classes in validation, at the size of training, epoch {best['epoch']}"
    return [{"title": title, "heads": ["class", "F1", "IoU", "precision", "recall"], "rows": lines}]


def _cell(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4f}"


def _commands(run: RunDirectory, settings: Mapping[str, Any]) -> str:
    changed = TrainConfig.model_fields
    best = shlex.quote(str(run.best_or_last))
    flags = []
    for name, field in changed.items():
        value, default = settings.get(name), field.get_default(call_default_factory=True)
        plain = list(default) if isinstance(default, tuple) else default
        if name in settings and value not in (plain, None) and name != "run_dir":
            flags.append(_flag(name, value))
    return "\n".join(
        [
            " ".join(["kseg train", *flags]),
            resume_command(run, settings, "kseg train"),
            f"kseg evaluate {best}",
            f"kseg predict {best} IMAGES --out FOLDER",
        ]
    )


def _flag(name: str, value: Any) -> str:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    if isinstance(value, Mapping):
        words = [word for pair in value.items() for word in pair]
    else:
        words = value if isinstance(value, list) else [value]
    return shlex.join([f"--{flag}", *map(str, words)])
