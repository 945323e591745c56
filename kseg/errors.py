"""The exception for errors that the user can fix."""


class KsegError(Exception):
    """An error that the user can fix. Commands print its message without a traceback and exit with `status`."""

    status = 2
