"""`kseg train …`: a name for each entry point."""

import sys

from kseg import audit, train

_COMMANDS = {"train": train.main, "audit": audit.main}


def main() -> int:
    """Run the command that the first argument names, with the other arguments."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in _COMMANDS:
        return _COMMANDS[name](arguments)
    print(
        f"usage: kseg {{{','.join(_COMMANDS)}}} …\n\n  kseg train --help\n  kseg audit --help\n\n"
        f"train: {train.__doc__}\naudit: {audit.__doc__}"
    )
    return 0 if name in ("-h", "--help") else 2
