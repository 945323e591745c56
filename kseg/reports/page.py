"""HTML pages: no scripts, nothing from a network, light or dark as the reader's browser is."""

from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


@dataclass(frozen=True)
class Picture:
    """A picture of a page."""

    data: str | None
    """A data URI; None if there is no picture to show."""
    name: str = ""
    caption: str = ""


def render(template: str, *, title: str, about: str, **content: Any) -> str:
    """Return a page as HTML.

    Args:
        template: a file of `kseg/reports/templates`.
        title: the heading.
        about: a line below it.
        content: what the template needs besides; text is escaped.
    """
    loader = PackageLoader("kseg.reports", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["breakable"] = _breakable
    return environment.get_template(template).render(title=title, about=about, **content)


def _breakable(path: str) -> Markup:
    """Allow a line break after each slash of a path."""
    return Markup("/<wbr>").join(escape(part) for part in path.split("/"))
