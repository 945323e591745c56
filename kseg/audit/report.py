"""The audit of a data set: what was looked at, what was found, in words and as JSON."""

import json
import textwrap
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from kseg.audit.alignment import Alignment, measure_alignment
from kseg.audit.datasets import AuditedSet, open_set
from kseg.audit.file_checks import check_files
from kseg.audit.findings import SEVERITIES, Finding
from kseg.audit.image_checks import check_images
from kseg.audit.inspection import Look
from kseg.audit.mask_checks import check_masks
from kseg.audit.rule import Setting, majority_rule, set_rule, share_of
from kseg.data.labels import NAMED_CLASSES, Foreground, list_values

SHOWN = 6
"""How many pictures stand under a finding."""

_NAMED = 3  # files, in the terminal
_WIDTH = 100  # characters of a line there


@dataclass(frozen=True)
class Audit:
    """What an audit found."""

    name: str
    layout: str
    """How images and masks were found; empty where no layout fits."""
    looks: Sequence[Look]
    """One for each pair, in order."""
    rule: Foreground
    """How the masks' values were read."""
    alignment: Alignment | None
    """How well masks fit their images; None where too few can be compared."""
    findings: Sequence[Finding]
    """What is wrong, the worst first."""
    pictures: dict[int, str]
    """Pairs with their masks outlined, as data URIs, by their place in `looks`."""
    seconds: float
    """How long it took."""

    @property
    def status(self) -> int:
        """0; 1 with a finding of severity error; 2 where nothing could be read."""
        if not any(look.image or look.mask for look in self.looks):
            return 2
        return int(any(finding.severity == "error" for finding in self.findings))

    @property
    def shares(self) -> dict[int, float]:
        """The share of foreground in each mask that could be read, by its place in `looks`."""
        return {index: share_of(look.mask, self.rule) for index, look in enumerate(self.looks) if look.mask}

    @property
    def verdict(self) -> str:
        """How many findings there are, in words."""
        counts = Counter(finding.severity for finding in self.findings)
        listed = [f"{counts[s]} {s}{'s' if counts[s] > 1 else ''}" for s in SEVERITIES if counts[s]]
        return ", ".join(listed) or "nothing found"

    def facts(self) -> dict[str, str]:
        """What the set is like: a few names, each with a line."""
        splits = Counter(look.split for look in self.looks if look.split)
        by_split = ", ".join(f"{split} {count}" for split, count in splits.items())
        sizes = Counter(look.image.size for look in self.looks if look.image).most_common()
        largest = ", ".join(f"{width} x {height} ({count})" for (height, width), count in sizes[:3])
        facts = {"layout": self.layout} if self.layout else {}
        facts |= {
            "pairs": f"{len(self.looks)}" + (f" ({by_split})" if by_split else ""),
            "sizes": largest + (f" and {len(sizes) - 3} more" if len(sizes) > 3 else "") + "  (width x height)",
        }
        shares = list(self.shares.values())
        if shares:
            low, median, high = np.percentile(shares, [25, 50, 75])
            values = sorted({value for look in self.looks if look.mask for value in look.mask.values})
            facts |= {
                "values": list_values(values),
                "read as": f"foreground is {self.rule}",
                "foreground": f"mean {np.mean(shares):.2%}; quartiles {low:.2%}, {median:.2%}, {high:.2%}",
                "empty": f"{shares.count(0)} of {len(shares)} masks ({shares.count(0) / len(shares):.0%})",
            }
        if self.alignment:
            facts["pairing"] = f"a mask fits its image better than a stranger's in {self.alignment.better:.0%} of cases"
        return facts

    def as_json(self) -> str:
        """All of it, but for the pictures."""
        shares = self.shares
        pairs = [
            {
                "image": look.image_name,
                "mask": look.mask_name,
                "split": look.split,
                "size": look.image and look.image.size,
                "foreground": shares.get(index),
            }
            for index, look in enumerate(self.looks)
        ]
        findings = [asdict(finding) | {"count": finding.count} for finding in self.findings]
        held = {"dataset": self.name, "seconds": round(self.seconds, 2), "facts": self.facts()}
        return json.dumps(held | {"findings": findings, "pairs": pairs}, indent=1, ensure_ascii=False)

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.verdict}", *(f"  {name + ':':12} {fact}" for name, fact in self.facts().items())]
        for finding in self.findings:
            lines += [
                "",
                f"{finding.severity.upper()}  {finding.evidence}: {finding.count}  [{finding.check}]",
                *(f"    {line}" for line in _named(finding)),
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
    foreground: Setting = "auto",
    bit_depth: int | Literal["auto"] = "auto",
    colours: Sequence[str] | Literal["auto"] = "auto",
    workers: int | None = None,
) -> Audit:
    """Look at every image and every mask of a data set once.

    A script calls this under `if __name__ == "__main__":`, since a larger folder is read by fresh processes, and they
    import the script.

    Args:
        dataset: as in `kseg.data.open_sources`, and so are `data_dir`, the splits, `val_fraction`, `seed`,
            `bit_depth` and `colours`; a folder may be faulty.
        foreground: as in `kseg.data.find_foreground`; with `auto` the rule is that of most masks.
        workers: number of processes that read a folder; None is one for each core.

    Raises:
        KsegError: there is no such data set, or nothing in it; its masks are in colours, and none are given.
    """
    begin = time.perf_counter()
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
    ) as examples:
        rule = set_rule(foreground) or (NAMED_CLASSES if examples.has_classes else None)
        table = rule.table() if rule else None
        looks = _look(examples, table)
        rule = rule or majority_rule([look.mask for look in looks if look.mask], dataset)
        alignment = measure_alignment(looks)
        findings = [*check_files(looks), *check_masks(looks, rule, alignment), *check_images(looks)]
        findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
        found = Audit(dataset, examples.layout, looks, rule, alignment, findings, {}, 0.0)
        shown = sorted({index for indices in pictured(found).values() for index in indices})
        pictures = zip(shown, examples.pictures(shown, table), strict=True)
        drawn = {index: picture for index, picture in pictures if picture}
    return Audit(dataset, examples.layout, looks, rule, alignment, findings, drawn, time.perf_counter() - begin)


def pictured(found: Audit) -> dict[str, list[int]]:
    """Which pairs a page shows, by their place: under each check, and the emptiest and the fullest of all."""
    places = {name: index for index, look in enumerate(found.looks) for name in (look.mask_name, look.image_name)}
    shown = {}
    for finding in found.findings:
        named = dict.fromkeys(places[name] for name in finding.files if name in places)
        shown[finding.check] = list(named)[:SHOWN]
    shares = found.shares
    ordered = sorted((index for index, share in shares.items() if share > 0), key=shares.__getitem__)
    return shown | {"emptiest": ordered[:SHOWN], "fullest": ordered[: -SHOWN - 1 : -1]}


def _look(examples: AuditedSet, table: np.ndarray | None) -> list[Look]:
    from tqdm import tqdm

    looks = examples.looks(table)
    return list(tqdm(looks, f"Looking at {examples.name}", len(examples), unit=" pairs", delay=1, leave=False))


def _named(finding: Finding) -> list[str]:
    named = zip(finding.files[:_NAMED], finding.details, strict=False)
    lines = [f"{file}  {detail}".rstrip() for file, detail in named]
    return lines + [f"and {finding.count - _NAMED} more"] * (finding.count > _NAMED)
