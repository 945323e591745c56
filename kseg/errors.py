"""The exception for errors that the user can fix."""


class KsegError(Exception):
    """An error that the user can fix. Commands print its message without a traceback and exit with `status`."""

    status = 2


class LostProcessError(KsegError):
    """Another process of this run has ended. The run can go on from its last checkpoint."""

    status = 4
