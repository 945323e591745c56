"""`python -m kseg.audit`; the command is `kseg.commands.audit`."""

import sys

from kseg.commands.audit import main

sys.exit(main())
