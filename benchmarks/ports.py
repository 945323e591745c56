"""A port for the first of several processes on this machine."""

import contextlib
import random
import socket


def free_port() -> int:
    """Return a port that nobody listens at.

    It lies below those that the system itself gives to connections: nobody takes it before the process does.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
