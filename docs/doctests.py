"""For MkDocs: examples in docstrings are shown as code; Markdown takes `>>>` for a quotation."""

import re
import textwrap
from typing import Any

import griffe

_EXAMPLE = re.compile(r"(?:^>>> .*\n?)(?:^(?=\S).*\n?)*", re.MULTILINE)
# What follows "::" and is indented, as in "Example::".
_INDENTED = re.compile(r"::\n\n((?:(?: {4}.*)?\n)* {4}.*(?:\n|$))")


class Doctests(griffe.Extension):
    """Puts a fence around each example."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one object."""
        if obj.docstring:
            text = _EXAMPLE.sub(lambda example: f"\n```pycon\n{example[0].rstrip()}\n```\n", obj.docstring.value)
            obj.docstring.value = _INDENTED.sub(
                lambda code: f":\n\n```python\n{textwrap.dedent(code[1]).strip()}\n```\n", text
            )
