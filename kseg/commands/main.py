"""`kseg train …`: a name for each entry point."""

import sys

from kseg.commands import audit, convert, train

_COMMANDS = {"train": train, "audit": audit, "convert": convert}


def main() -> int:
    """Run the command that the first argument names, with the other arguments."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in _COMMANDS:
        return _COMMANDS[name].main(arguments)
    helps = "\n".join(f"  kseg {name} --help" for name in _COMMANDS)
    parts = "\n".join(f"{name}: {part.__doc__}" for name, part in _COMMANDS.items())
    print(f"usage: kseg {{{','.join(_COMMANDS)}}} …\n\n{helps}\n\n{parts}")
    return 0 if name in ("-h", "--help") else 2
