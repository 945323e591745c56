"""`python -m kseg.convert`; the command is `kseg.commands.convert`."""

import sys

from kseg.commands.convert import main

if __name__ == "__main__":
    sys.exit(main())
