"""`python -m kseg.train`; the command is `kseg.commands.train`.

`kseg.train(config)` trains too, as `kseg.runs.train` does: a module that was imported hides the function of its name.
"""

import sys
from types import ModuleType
from typing import Any

from kseg.commands.train import main


class _Callable(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from kseg.runs import train

        return train(*arguments, **options)


if __name__ == "__main__":
    sys.exit(main())
sys.modules[__name__].__class__ = _Callable
