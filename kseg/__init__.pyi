from kseg import audit as audit
from kseg import callbacks as callbacks
from kseg import config as config
from kseg import data as data
from kseg import distribution as distribution
from kseg import inference as inference
from kseg import losses as losses
from kseg import metrics as metrics
from kseg import models as models
from kseg import runs as runs
from kseg.checks.preflight import preflight as preflight
from kseg.config import TrainConfig as TrainConfig
from kseg.inference import load as load
from kseg.runs import train as train

__version__: str
IGNORE: int

__all__ = [
    "IGNORE",
    "TrainConfig",
    "__version__",
    "audit",
    "callbacks",
    "config",
    "data",
    "distribution",
    "inference",
    "load",
    "losses",
    "metrics",
    "models",
    "preflight",
    "runs",
    "train",
]
