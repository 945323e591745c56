"""The settings of an audit."""

from typing import Literal

from pydantic import Field

from kseg.config.base import OutputFolder
from kseg.config.data import ForegroundOptions, LabelOptions


class AuditConfig(LabelOptions, ForegroundOptions):
    """The settings of an audit."""

    output: OutputFolder | None = Field(
        None, description="Folder for audit.json and audit.html; None: ./audit-<name of the data set>."
    )
    workers: int | None = Field(
        None, ge=1, description="Number of processes that read a folder; None: one for each core."
    )
    show_augment: tuple[Literal["light", "medium", "heavy"], ...] | None = Field(
        None,
        description="Instead of the audit, write augment.html, in seconds: some images with their masks, and what "
        "these presets of kseg train --augment make of them. Without names: all three.",
    )
