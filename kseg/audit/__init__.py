"""What is wrong with a data set, in one pass over it: findings, a summary, a page of pictures.

    report = audit("path/to/folder")
    print(report)

Nothing here imports keras, and TensorFlow only where a TFDS data set is read.
"""

from kseg.audit.findings import Finding
from kseg.audit.report import Audit, audit

__all__ = ["Audit", "Finding", "audit"]
