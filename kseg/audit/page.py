"""The audit as an HTML page."""

import numpy as np

from kseg.audit.report import Audit, pictured
from kseg.reports.page import Picture, render

_BARS = 20


def page(audit: Audit) -> str:
    """Return the whole page, as HTML."""
    shown = pictured(audit)
    shares = list(audit.shares.values())
    top = max(*shares, 0.01) if shares else 0.01
    bars = np.histogram(shares, _BARS, (0, top))[0].tolist() if shares else []
    findings = [
        (finding, _pictures(audit, shown[finding.cause], dict(zip(finding.files, finding.details, strict=True))))
        for finding in audit.findings
    ]
    extremes = [(f"The {which} masks", _pictures(audit, shown[which], {})) for which in ("emptiest", "fullest")]
    return render(
        "audit.html",
        title=f"Audit of {audit.name}",
        about=f"{audit.verdict}; {len(audit.pairs)} pairs in {audit.seconds:.1f} s",
        facts=audit.facts(),
        bars=bars,
        top=top,
        findings=findings,
        extremes=[(title, pictures) for title, pictures in extremes if pictures],
    )


def _pictures(audit: Audit, indices: list[int], details: dict[str, str]) -> list[Picture]:
    return [_picture(audit, index, details) for index in indices]


def _picture(audit: Audit, index: int, details: dict[str, str]) -> Picture:
    pair, share = audit.pairs[index], audit.shares.get(index)
    name = pair.mask.name if pair.mask and pair.mask.name in details else pair.name
    caption = details.get(name) or (f"{share:.1%} foreground" if share is not None else "no mask")
    return Picture(audit.pictures.get(index), name, caption)
