"""`kseg train …`: one name for all commands."""

import sys

import kseg
from kseg.commands import (
    audit,
    compare,
    convert,
    debug_masks,
    evaluate,
    export,
    lr_find,
    models,
    predict,
    report,
    train,
)

_COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "compare": compare,
    "export": export,
    "report": report,
    "models": models,
    "lr-find": lr_find,
    "audit": audit,
    "debug-masks": debug_masks,
    "convert": convert,
}


def main() -> int:
    """Run the command that the first argument names, with the other arguments."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in _COMMANDS:
        return _COMMANDS[name].main(arguments, prog=f"kseg {name}")
    if name == "--version":
        print(f"kseg {kseg.__version__}")
        return 0
    if name in ("-h", "--help"):
        print(_usage())
        return 0
    print(f"kseg: There is no command {name!r}; expected one of {', '.join(_COMMANDS)}.\n\n{_usage()}", file=sys.stderr)
    return 2


def _usage() -> str:
    commands = "\n".join(f"  {name:13}{command.SUMMARY}" for name, command in _COMMANDS.items())
    return (
        f"usage: kseg {{{','.join(_COMMANDS)}}} …\n\n{commands}\n\n"
        "kseg COMMAND --help lists the options of a command; kseg --version prints the version."
    )
