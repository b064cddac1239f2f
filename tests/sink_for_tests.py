"""A receiver of events over real HTTP: it keeps what it is sent, and answers as it is told."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        return self.headers["ce-type"].rpartition(".")[2]


class Sink:
    """Listens while it is entered; `statuses` are used up one a request, then everything is taken."""

    def __init__(self, port: int = 0) -> None:
        self.taken: list[Received] = []
        self.asked = 0
        self.statuses: list[int] = []
        self.refuse: dict[str, int] = {}
        self.connections: set[object] = set()
        self._open: set[socket.socket] = set()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                sink._open.add(self.connection)

            def finish(self) -> None:
                sink._open.discard(self.connection)
                super().finish()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                sink.asked += 1
                sink.connections.add(self.client_address)
                status = sink.statuses.pop(0) if sink.statuses else sink.refuse.get(headers["ce-id"], 200)
                if status == 200:
                    sink.taken.append(Received(self.path, headers, body))
                self.send_response(status)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *words: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/events?from=penstock"

    @property
    def ids(self) -> list[str]:
        return [f"{one.headers['ce-id']} {one.kind}" for one in self.taken]

    def __enter__(self) -> Sink:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        # A connection that is kept alive has a thread of its own, which would go on answering.
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
