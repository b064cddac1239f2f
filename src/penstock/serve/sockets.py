"""Stage 4, serve: the listening sockets of a data plane: opened once, inherited by every worker.

HTTP always; gRPC and HTTP over a Unix socket where they are wanted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import time
from pathlib import Path
from typing import NamedTuple

from penstock.errors import BadConfig

BACKLOG = 2048
BIND_S = 5.0


class Sockets(NamedTuple):
    """Where a data plane listens.

    Attributes:
        more: Further ports that speak what `http` does: some clients expect a dialect's parts at several.
    """

    http: socket.socket
    grpc: socket.socket | None = None
    unix: socket.socket | None = None
    more: tuple[socket.socket, ...] = ()

    def places(self) -> dict[str, str | int]:
        """Host and port, the gRPC port (0 where there is none), the Unix socket's path (empty where there is none)."""
        host, port = self.http.getsockname()[:2]
        grpc = self.grpc.getsockname()[1] if self.grpc else 0
        return {"host": host, "port": port, "grpc": grpc, "unix": self.unix.getsockname() if self.unix else ""}

    def close(self) -> None:
        """Listen no more; the Unix socket's file goes with it."""
        for one in (self.http, self.grpc, self.unix, *self.more):
            if one is not None:
                one.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    patience = time.monotonic() + BIND_S
    while True:
        try:
            listening.bind((host, port))
            break
        except OSError as error:
            # The workers of a supervisor that was killed hold its port until they have finished.
            if error.errno != errno.EADDRINUSE or time.monotonic() > patience:
                raise
            time.sleep(0.05)
    listening.listen(BACKLOG)
    listening.setblocking(False)
    return listening


def listen_unix(path: Path) -> socket.socket:
    """A listening Unix socket that nobody but this user can reach; a file that nobody listens on is replaced.

    Raises:
        BadConfig: Something else lies there, or somebody listens.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise BadConfig("there is a file where the Unix socket should be", "name another path")
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise BadConfig("another process listens on the Unix socket", "name another path, or stop it")
        path.unlink()
    listening = socket.socket(socket.AF_UNIX)
    # From its first moment: between bind and chmod, others could connect.
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
    finally:
        os.umask(before)
    listening.listen(BACKLOG)
    listening.setblocking(False)
    return listening
