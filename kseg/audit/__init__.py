"""Report what is wrong with a data set: findings, a summary, a page of pictures.

    report = audit("path/to/folder")
    print(report)

Nothing here imports keras, and TensorFlow only where a TFDS data set is read.
"""

from kseg.audit.report import Audit, audit
from kseg.findings import Finding

__all__ = ["Audit", "Finding", "audit"]
