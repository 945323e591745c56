"""The audit of a data set: its findings, in words and as JSON."""

import json
import textwrap
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from kseg.audit.alignment import Alignment, measure_alignment
from kseg.audit.class_checks import ClassCount, as_plain, count_classes, describe_counts, missing_classes
from kseg.audit.datasets import AuditedSet, open_set
from kseg.audit.file_checks import check_files
from kseg.audit.image_checks import check_images
from kseg.audit.inspection import InspectedPair, measured
from kseg.audit.mask_checks import check_masks
from kseg.audit.rule import majority_rule, set_rule, share_by_rule
from kseg.data.files.pair import MaskExif
from kseg.data.labels import Foreground, ForegroundSetting
from kseg.data.survey import list_values
from kseg.findings import SEVERITIES, Finding
from kseg.progress import progress

SHOWN = 6
"""Number of pictures under a finding."""

_FILES_IN_TEXT = 3
_WIDTH = 100  # characters of a line of text


@dataclass(frozen=True)
class Audit:
    """The result of an audit."""

    name: str
    layout: str
    """How images and masks were found; empty if no layout matches."""
    pairs: Sequence[InspectedPair]
    """What was measured in each pair, in order."""
    rule: Foreground
    """How the mask values were read."""
    classes: Sequence[ClassCount]
    """What there is of each class; empty if there is one."""
    pixels: int
    """Number of pixels of all masks that are not ignored."""
    alignment: Alignment | None
    """How well masks fit their images; None if too few can be compared."""
    findings: Sequence[Finding]
    """What is wrong, the worst first."""
    pictures: dict[int, str]
    """Pairs with their masks outlined, as data URIs, by their index in `pairs`."""
    seconds: float
    """The duration."""

    @property
    def status(self) -> int:
        """0; 1 if a finding is an error; 2 if nothing could be read."""
        if not any(pair.image_statistics or pair.mask_statistics for pair in self.pairs):
            return 2
        return int(any(finding.severity == "error" for finding in self.findings))

    @property
    def shares(self) -> dict[int, float]:
        """The share of foreground in each mask that could be read, by its index in `pairs`."""
        masks = {index: pair.mask_statistics for index, pair in enumerate(self.pairs)}
        return {index: share_by_rule(mask, self.rule) for index, mask in masks.items() if mask}

    @property
    def verdict(self) -> str:
        """The number of findings of each severity, in words."""
        counts: Counter[str] = Counter(finding.severity for finding in self.findings)
        listed = [f"{counts[s]} {s}{'s' if counts[s] > 1 else ''}" for s in SEVERITIES if counts[s]]
        return ", ".join(listed) or "nothing found"

    def facts(self) -> dict[str, str]:
        """Return a summary of the data set: names, each with a line of text."""
        splits = Counter(pair.split for pair in self.pairs if pair.split)
        by_split = ", ".join(f"{split} {count}" for split, count in splits.items())
        images, masks = measured([pair.image for pair in self.pairs]), measured([pair.mask for pair in self.pairs])
        sizes = Counter(image.size for _, image in images).most_common()
        largest = ", ".join(f"{width} x {height} ({count})" for (height, width), count in sizes[:3])
        facts = {"layout": self.layout} if self.layout else {}
        facts |= {
            "pairs": f"{len(self.pairs)}" + (f" ({by_split})" if by_split else ""),
            "sizes": largest + (f" and {len(sizes) - 3} more" if len(sizes) > 3 else "") + "  (width x height)",
        }
        shares = list(self.shares.values())
        if shares:
            low, median, high = np.percentile(shares, [25, 50, 75])
            values = np.unique(np.concatenate([mask.values for _, mask in masks])).tolist()
            facts |= {
                "values": list_values(values),
                **({"classes": describe_counts(self.classes, self.pixels)} if self.classes else {}),
                "read as": f"{'any class is foreground: ' if self.classes else 'foreground is '}{self.rule}",
                "foreground": f"mean {np.mean(shares):.2%}; quartiles {low:.2%}, {median:.2%}, {high:.2%}",
                "empty": f"{shares.count(0)} of {len(shares)} masks ({shares.count(0) / len(shares):.0%})",
            }
        if self.alignment:
            facts["pairing"] = f"a mask fits its own image better than another in {self.alignment.better:.0%} of cases"
        return facts

    def as_json(self) -> str:
        """Return everything but the pictures."""
        shares = self.shares
        pairs = [
            {
                "image": pair.image and pair.image.name,
                "mask": pair.mask and pair.mask.name,
                "split": pair.split,
                "size": pair.image_statistics and pair.image_statistics.size,
                "foreground": shares.get(index),
            }
            for index, pair in enumerate(self.pairs)
        ]
        findings = [asdict(finding) | {"count": finding.count} for finding in self.findings]
        summary = {"dataset": self.name, "seconds": round(self.seconds, 2), "facts": self.facts()}
        summary |= {"classes": as_plain(self.classes, self.pixels)}
        return json.dumps(summary | {"findings": findings, "pairs": pairs}, indent=1, ensure_ascii=False)

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.verdict}", *(f"  {name + ':':12} {fact}" for name, fact in self.facts().items())]
        for finding in self.findings:
            lines += [
                "",
                f"{finding.severity.upper()}  {finding.evidence}: {finding.count}  [{finding.cause}]",
                *(f"    {line}" for line in _list_files(finding)),
                *textwrap.wrap(finding.effect, _WIDTH, initial_indent="  ", subsequent_indent="  "),
                *textwrap.wrap(finding.remedy, _WIDTH, initial_indent="  → ", subsequent_indent="    "),
            ]
        return "\n".join(lines)


def audit(
    dataset: str,
    *,
    data_dir: Path | None = None,
    train_split: str | None = None,
    val_split: str | None = None,
    val_fraction: float = 0.2,
    seed: int = 0,
    foreground: ForegroundSetting = "auto",
    bit_depth: int | Literal["auto"] = "auto",
    colours: Sequence[str] | Literal["auto"] = "auto",
    workers: int | None = None,
    multilabel: bool = False,
    mask_exif: MaskExif = "own",
) -> Audit:
    """Check every image and every mask of a data set.

    A script calls this under `if __name__ == "__main__":`, since a larger folder is read by fresh processes, and they
    import the script.

    Args:
        dataset: as in `kseg.data.open_sources`, and so are `data_dir`, the splits, `val_fraction`, `seed`,
            `bit_depth` and `colours`; a folder may be faulty.
        foreground: as in `kseg.data.find_foreground`; with `auto` the rule is that of most masks.
        workers: number of processes that read a folder; None is one for each core.
        multilabel: as in `kseg.data.open_sources`, and so is `mask_exif`.

    Raises:
        KsegError: there is no such data set, or nothing in it; its masks are in colours, and none are given.
    """
    start = time.perf_counter()
    with open_set(
        dataset,
        workers=workers,
        data_dir=data_dir,
        train_split=train_split,
        val_split=val_split,
        val_fraction=val_fraction,
        seed=seed,
        bit_depth=bit_depth,
        colours=colours,
        multilabel=multilabel,
        mask_exif=mask_exif,
    ) as examples:
        rule = set_rule(foreground, named_classes=bool(examples.classes))
        table = rule.table() if rule else None
        pairs = _inspect(examples, table)
        rule = rule or majority_rule([mask for _, mask in measured([pair.mask for pair in pairs])], dataset)
        alignment = measure_alignment(pairs)
        classes, pixels = count_classes(pairs, rule, examples.classes, examples.labels)
        findings = [
            *check_files(pairs, mask_exif),
            *check_masks(pairs, rule, alignment),
            *missing_classes(classes, pairs),
            *check_images(pairs),
        ]
        findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
        result = Audit(dataset, examples.layout, pairs, rule, classes, pixels, alignment, findings, {}, 0.0)
        shown = sorted({index for indices in pictured(result).values() for index in indices})
        drawn = zip(shown, examples.draw(shown, table), strict=True)
        pictures = {index: picture for index, picture in drawn if picture}
    return replace(result, pictures=pictures, seconds=time.perf_counter() - start)


def pictured(audit: Audit) -> dict[str, list[int]]:
    """Return the indices of the pairs that a page shows: by cause, and the emptiest and the fullest of all."""
    indices = {file.name: index for index, pair in enumerate(audit.pairs) for file in pair.files}
    shown: dict[str, list[int]] = {}
    for finding in audit.findings:
        of_finding = dict.fromkeys(indices[name] for name in finding.files if name in indices)
        shown[finding.cause] = list(of_finding)[:SHOWN]
    shares = audit.shares
    ordered = sorted((index for index, share in shares.items() if share > 0), key=shares.__getitem__)
    return shown | {"emptiest": ordered[:SHOWN], "fullest": ordered[: -SHOWN - 1 : -1]}


def _inspect(examples: AuditedSet, table: np.ndarray | None) -> list[InspectedPair]:

    pairs = examples.inspect(table)
    return list(progress(pairs, f"Checking {examples.name}", len(examples), unit="pairs"))


def _list_files(finding: Finding) -> list[str]:
    files = zip(finding.files[:_FILES_IN_TEXT], finding.details, strict=False)
    lines = [f"{file}  {detail}".rstrip() for file, detail in files]
    return lines + [f"and {finding.count - _FILES_IN_TEXT} more"] * (finding.count > _FILES_IN_TEXT)
