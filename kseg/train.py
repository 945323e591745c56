"""`python -m kseg.train`; the command is `kseg.commands.train`."""

import sys

from kseg.commands.train import main

if __name__ == "__main__":
    sys.exit(main())
