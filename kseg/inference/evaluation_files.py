"""What an evaluation prints and writes: text, `evaluation.json`, `images.csv`, `evaluation.png`."""

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kseg.inference.evaluate import Evaluation
from kseg.inference.scores import TOLERANCE, ImageScores, ratios
from kseg.reports.curves import save_curves
from kseg.storage.atomic import write_atomically
from kseg.task import safe_names

TITLES = {
    "f1": "F1",
    "iou": "IoU",
    "precision": "precision",
    "recall": "recall",
    "accuracy": "accuracy",
    "boundary_f1": f"boundary F1 ({TOLERANCE:g} px)",
    "hausdorff_95": "95% Hausdorff, px",
    "object_f1": "object F1 (IoU > 0.5)",
}
BY_CLASS = ("f1", "iou", "precision", "recall", "boundary_f1", "hausdorff_95", "object_f1")


def describe(evaluation: Evaluation) -> str:
    """Return the scores as text: of all images, of each class, of each group."""
    summary = evaluation.summary()
    several = len(evaluation.names) > 1
    lines = [
        f"{summary['images']} images of {evaluation.dataset}, at their own size",
        f"{'mean over classes' if several else evaluation.names[0]:<26}score  95% interval     same answer everywhere",
    ]
    for name, title in TITLES.items():
        low, high = summary["interval_95"].get(name, (None, None))
        interval = "" if low is None else f"{low:.4f} … {high:.4f}"
        trivial = summary["trivial"].get(name)
        constant = f"{trivial['score']:.4f}, {trivial['answer']}" if trivial else ""
        score = summary["mean"][name]
        shown = "–" if score is None else f"{score:.4f}"
        lines.append(f"  {title:<21}{shown:>8}  {interval:<17}{constant}".rstrip())
    lines.append(f"  {'calibration error':<21}{summary['expected_calibration_error']:>8.4f}")
    best = summary["best_threshold"]
    lines += [
        f"Best threshold of {name}: {one['threshold']:.3f}, where F1 is {one['f1']:.4f}" for name, one in best.items()
    ]
    if evaluation.task.kind == "multilabel" and len(best) == len(evaluation.names):
        lines.append("All of them: --threshold " + " ".join(f"{one['threshold']:.3f}" for one in best.values()))
    if several:
        lines += ["", *_table("class", summary["classes"])]
    if summary["groups"]:
        lines += ["", *_table("group", {name: group["mean"] for name, group in summary["groups"].items()})]
    return "\n".join(lines)


def _table(first: str, rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    width = max(len(first), *map(len, rows))
    heads = [TITLES[name].partition(" (")[0] for name in BY_CLASS]
    widths = [max(len(head), len("0.0000")) + 2 for head in heads]
    lines = [f"{first:<{width}}" + "".join(f"{head:>{one}}" for head, one in zip(heads, widths, strict=True))]
    for name, scores in rows.items():
        cells = ["" if scores[score] is None else f"{scores[score]:.4f}" for score in BY_CLASS]
        cells = [f"{cell or '–':>{one}}" for cell, one in zip(cells, widths, strict=True)]
        lines.append(f"{name:<{width}}" + "".join(cells))
    return lines


def write_files(evaluation: Evaluation, folder: Path) -> None:
    """Write `evaluation.json`, `images.csv` and `evaluation.png` into a folder, made if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(evaluation.summary(), indent=1)
    write_atomically(folder / "evaluation.json", lambda path: path.write_text(text, encoding="utf-8"))
    rows = [_row(image, evaluation.names) for image in evaluation.images]

    def write(path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(folder / "images.csv", write)
    calibration = evaluation.calibration
    save_curves(folder / "evaluation.png", evaluation.names, calibration.f1_by_threshold(), calibration.confidence)


def _row(image: ImageScores, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the line of an image: its name and group, then by class what was counted, and the scores."""
    row: dict[str, Any] = {"image": image.name, "group": image.group}
    scores = ratios(image.counts)
    for index, name in enumerate(safe_names(names)):
        row |= {
            f"{kind}_{name}": int(value)
            for kind, value in zip(("tp", "fp", "fn", "tn"), image.counts[index], strict=True)
        }
        row |= {f"{score}_{name}": _cell(values[index]) for score, values in scores.items()}
        row[f"boundary_f1_{name}"], row[f"hausdorff_95_{name}"] = map(_cell, image.edges[index])
        kinds = ("found", "false", "missed")
        row |= {f"objects_{kind}_{name}": int(value) for kind, value in zip(kinds, image.objects[index], strict=True)}
    return row


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
