"""The one exception that people are meant to read."""


class KsegError(Exception):
    """Something a person can put right. The command prints it without a traceback and exits with its status."""

    status = 2
