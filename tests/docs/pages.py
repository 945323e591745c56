"""The code of a page: its fenced blocks, and how they are run."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


class Block(NamedTuple):
    language: str
    text: str


def blocks_of(page):
    return [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)]


def commands_in(text):
    """The lines of a block of commands; a line that opens a quote goes on to the line that closes it."""
    found, open_quote = [], False
    for line in text.splitlines():
        found = [*found[:-1], f"{found[-1]}\n{line}"] if open_quote else [*found, line]
        open_quote ^= line.count('"') % 2 == 1
    return found
