"""For MkDocs: examples in docstrings are shown as code; Markdown takes `>>>` for a quotation."""

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"(?:^>>> .*\n?)(?:^(?=\S).*\n?)*", re.MULTILINE)


class Doctests(griffe.Extension):
    """Puts a fence around each example."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = _EXAMPLE.sub(
                lambda example: f"\n```pycon\n{example[0].rstrip()}\n```\n", obj.docstring.value
            )
