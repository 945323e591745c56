"""`kseg train …`: a name for each entry point."""

import sys

from kseg import train

_COMMANDS = {"train": train.main}


def main() -> int:
    """Run the command that the first argument names, with the other arguments."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in _COMMANDS:
        return _COMMANDS[name](arguments)
    print(f"usage: kseg {{{','.join(_COMMANDS)}}} …\n\n  kseg train --help\n\ntrain: {train.__doc__}")
    return 0 if name in ("-h", "--help") else 2
