"""The audit as one page: no scripts, nothing from a network, light or dark as the reader has it."""

from html import escape

import numpy as np

from kseg.audit.findings import Finding
from kseg.audit.report import Audit, pictured
from kseg.reports.page import document

_BARS = 20


def page(found: Audit) -> str:
    """The whole page, as HTML."""
    shown = pictured(found)
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>" for name, fact in found.facts().items())
    parts = [_finding(found, finding, shown[finding.check]) for finding in found.findings]
    for which in ("emptiest", "fullest"):
        if shown[which]:
            parts.append(f"<section><h2>The {which} masks</h2>{_pictures(found, shown[which], {})}</section>")
    about = f"{found.verdict}; {len(found.looks)} pairs in {found.seconds:.1f} s"
    return document(
        f"Audit of {found.name}",
        about,
        f"<dl>{facts}</dl>\n{_histogram(list(found.shares.values()))}" + "\n".join(parts),
    )


def _finding(found: Audit, finding: Finding, indices: list[int]) -> str:
    details = dict(zip(finding.files, finding.details, strict=True))
    named = "".join(f"<li>{escape(f'{file}  {detail}'.strip())}</li>" for file, detail in details.items())
    files = f"<details><summary>All files: {finding.count}</summary><ul>{named}</ul></details>"
    title = finding.evidence[0].upper() + finding.evidence[1:]
    return (
        f'<section class="{finding.severity}"><b>{finding.severity}</b> <code>{escape(finding.check)}</code>'
        f"<h2>{escape(title)}: {finding.count}</h2><p>{escape(finding.effect)}</p>"
        f"<p>→ {escape(finding.remedy)}</p>{_pictures(found, indices, details)}"
        f"{files if finding.count > len(indices) else ''}</section>"
    )


def _pictures(found: Audit, indices: list[int], details: dict[str, str]) -> str:
    return f'<div class="pictures">{"".join(_figure(found, index, details) for index in indices)}</div>'


def _figure(found: Audit, index: int, details: dict[str, str]) -> str:
    look, share = found.looks[index], found.shares.get(index)
    picture = found.pictures.get(index)
    shown = f'<img src="{picture}" alt="">' if picture else "<div>no image to show</div>"
    name = look.mask_name if look.mask_name in details else look.name
    said = details.get(name) or (f"{share:.1%} foreground" if share is not None else "no mask")
    caption = f"{escape(name)}<br>{escape(said)}".replace("/", "/<wbr>")
    return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>"


def _histogram(shares: list[float]) -> str:
    """How many masks have which share of foreground, as bars."""
    if not shares:
        return ""
    top = max(max(shares), 0.01)
    counts, _ = np.histogram(shares, _BARS, (0, top))
    bars = "".join(
        f'<rect x="{30 * place + 1}" width="28" y="{120 - 110 * count / counts.max():.1f}" '
        f'height="{110 * count / counts.max():.1f}"><title>{count} masks</title></rect>'
        for place, count in enumerate(counts)
    )
    width = 30 * _BARS
    return (
        f'<svg viewBox="0 0 {width} 140" role="img" aria-label="Masks by share of foreground">{bars}'
        f'<text x="0" y="135">0%</text><text x="{width / 2}" y="135" text-anchor="middle">'
        f'masks by share of foreground; the highest bar is {counts.max()}</text><text x="{width}" y="135" '
        f'text-anchor="end">{top:.0%}</text></svg>'
    )
