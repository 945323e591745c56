"""The page of an evaluation."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kseg.inference.evaluate import Evaluation
from kseg.inference.evaluation_files import BY_CLASS, TITLES
from kseg.inference.scores import image_f1
from kseg.reports.charts import scatter_chart
from kseg.reports.page import Picture, render


def evaluation_page(model: str, evaluation: Evaluation, curves: Path) -> str:
    """Return the whole page, as HTML; `curves` is the PNG file of the curves."""
    return render(
        "run.html",
        title=f"Evaluation of {model}",
        about=f"{len(evaluation.images)} images of {evaluation.dataset}, at their own size",
        facts=[],
        findings=[],
        charts=[],
        commands="",
        settings="",
        **evaluation_parts(evaluation, curves),
    )


def evaluation_parts(evaluation: Evaluation, curves: Path) -> dict[str, Any]:
    """Return what the template `run.html` shows of an evaluation."""
    summary = evaluation.summary()
    tables = [_means(summary)]
    if len(evaluation.names) > 1:
        tables.append(_table("Classes", "class", summary["classes"]))
    if len(evaluation.names) > 1 and evaluation.confusion is not None:
        tables.append(_confusion(evaluation.names, evaluation.confusion))
    if summary["groups"]:
        tables.append(_table("Groups", "group", {name: one["mean"] for name, one in summary["groups"].items()}))
    data = base64.b64encode(curves.read_bytes()).decode()
    return {
        "tables": tables,
        "galleries": evaluation.gallery.sections(),
        "wide": Picture(
            f"data:image/png;base64,{data}", "", "F1 at every threshold, and how far probabilities are right"
        ),
        "scatters": _scatters(evaluation),
    }


def _means(summary: Mapping[str, Any]) -> dict[str, Any]:
    rows = []
    for name, title in TITLES.items():
        low, high = summary["interval_95"].get(name, (None, None))
        trivial = summary["trivial"].get(name)
        rows.append(
            [
                title,
                "–" if summary["mean"][name] is None else f"{summary['mean'][name]:.4f}",
                "" if low is None else f"{low:.4f} to {high:.4f}",
                f"{trivial['score']:.4f} ({trivial['answer']})" if trivial else "",
            ]
        )
    rows.append(["calibration error", f"{summary['expected_calibration_error']:.4f}", "", ""])
    for name, best in summary["best_threshold"].items():
        rows.append([f"best threshold of {name}", f"{best['threshold']:.3f}", "", f"F1 there: {best['f1']:.4f}"])
    heads = ["", "score", "95% interval over images", "same answer for every pixel"]
    return {"title": "Scores", "heads": heads, "rows": rows}


def _table(title: str, first: str, scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    shared = any("share" in one for one in scores.values())
    heads = [first, *(["share"] if shared else []), *(TITLES[name] for name in BY_CLASS)]
    rows = []
    for name, one in scores.items():
        cells = ["–" if one[score] is None else f"{one[score]:.4f}" for score in BY_CLASS]
        rows.append([name, *([f"{one['share']:.2%}"] if shared else []), *cells])
    return {"title": title, "heads": heads, "rows": rows}


def _confusion(classes: Sequence[str], pixels: np.ndarray) -> dict[str, Any]:
    names = ["background", *classes]
    shares = pixels / np.maximum(pixels.sum(1, keepdims=True), 1)
    rows = [
        [name, *(f"{share:.1%}" if share else "" for share in row)] for name, row in zip(names, shares, strict=True)
    ]
    return {"title": "What pixels of a class are taken for", "heads": ["class", *names], "rows": rows}


def _scatters(evaluation: Evaluation) -> list[Any]:
    images = evaluation.images
    valid = [max(int(image.counts[0].sum()), 1) for image in images]
    shares = [(image.counts[:, 0] + image.counts[:, 2]).sum() / one for image, one in zip(images, valid, strict=True)]
    scores = [image_f1(image) for image in images]
    names = [image.name.rpartition("/")[2] for image in images]
    return [
        scatter_chart(
            "F1 of each image against its share of foreground", "share", list(zip(shares, scores, names, strict=True))
        ),
        scatter_chart(
            "F1 of each image against its size", "pixels", list(zip(valid, scores, names, strict=True)), log=True
        ),
    ]
