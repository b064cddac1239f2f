"""Registries for tests: Debian's own, and a small one that can be told to do what no registry should."""

from __future__ import annotations

import hashlib
import json
import shutil
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from exports_for_tests import free_port
from packages_for_tests import linear_package
from penstock.app.app import App
from penstock.app.opening import open_app
from penstock.build.sign import sign_folder
from penstock.records import Version
from penstock.registry.trust import keep_package

DEBIAN = shutil.which("docker-registry")
SKOPEO = shutil.which("skopeo")


def home_with_a_version(folder: Path, *, bias: float = 0.0, name: str = "linear") -> App:
    """A home whose ``linear@1`` is a small signed package."""
    app = open_app(folder)
    add_version(app, folder.parent / f"{folder.name}-package", bias=bias, name=name)
    return app


def add_version(app: App, place: Path, *, bias: float = 0.0, name: str = "linear", number: int = 1) -> str:
    linear_package(place, bias=bias, name=name)
    sign_folder(place, app.package_key)
    package = keep_package(place, app.registry.packages, app.state())
    version = Version(
        model=name,
        version=number,
        digest=package.digest,
        author=app.identity.name,
        created_at=1.0,
        engine="onnxruntime",
    )
    app.registry.append("version.registered", f"model/{name}", version, by=app.identity)
    return package.digest


@contextmanager
def debian_registry(folder: Path) -> Iterator[str]:
    """Debian's ``docker-registry`` on a free port; gives ``127.0.0.1:PORT``."""
    assert DEBIAN is not None
    place = f"127.0.0.1:{free_port()}"
    settings = folder / "registry.yml"
    settings.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder / 'blobs'}}}}}\n"
        f"http: {{addr: '{place}', secret: of-the-test}}\n"
    )
    process = subprocess.Popen([DEBIAN, "serve", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://{place}/v2/", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, "the registry ended"
                time.sleep(0.1)
        yield place
    finally:
        process.terminate()
        process.wait()


class Asked(NamedTuple):
    """A request as it came, its body left out."""

    method: str
    path: str
    headers: dict[str, str]


class SmallRegistry:
    """The distribution API over memory; `before` may answer any request itself, by returning true.

    Attributes:
        place: ``127.0.0.1:PORT``.
        asked: Every request, in order.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        self.before: Callable[[SmallHandler], bool] = lambda handler: False
        registry = self

        class Bound(SmallHandler):
            owner = registry

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.place = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> SmallRegistry:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, data: bytes) -> str:
        digest = digest_of(data)
        self.blobs[digest] = data
        return digest

    def manifest(self) -> dict[str, object]:
        """The manifest under ``1``, to be changed and `named` again."""
        return json.loads(self.manifests["1"])

    def named(self, manifest: object, tag: str = "1") -> None:
        data = json.dumps(manifest).encode()
        self.manifests[tag] = self.manifests[digest_of(data)] = data

    def methods(self, part: str = "") -> list[str]:
        return [one.method for one in self.asked if part in one.path]


class SmallHandler(BaseHTTPRequestHandler):
    """One request."""

    owner: SmallRegistry
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> bool:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers and "Transfer_Encoding" not in headers and status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        return True

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _handle(self) -> None:
        self.owner.asked.append(Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        try:
            if not self.owner.before(self):
                self._honest()
        except (ConnectionError, ssl.SSLError):
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = _handle

    def _honest(self) -> bool:
        parts = urlsplit(self.path)
        *_, kind, last = parts.path.split("/")
        owner = self.owner
        if kind == "manifests":
            return self._manifest(last)
        if kind == "blobs":
            return self.answer(200, owner.blobs[last]) if last in owner.blobs else self.answer(404)
        return self._upload(parts.path, last, parse_qs(parts.query).get("digest"))

    def _upload(self, path: str, last: str, digest: list[str] | None) -> bool:
        owner = self.owner
        if self.command == "POST":
            name = str(len(owner.uploads))
            owner.uploads[name] = b""
            return self.answer(202, Location=f"{path}{name}")
        if last not in owner.uploads:
            return self.answer(404, b'{"errors": [{"code": "BLOB_UPLOAD_UNKNOWN"}]}')
        if self.command == "GET":
            size = max(0, len(owner.uploads[last]) - 1)
            return self.answer(204, Location=self.path, Range=f"0-{size}")
        owner.uploads[last] += self.body()
        if self.command == "PATCH":
            return self.answer(202, Location=self.path)
        data = owner.uploads.pop(last)
        if digest != [digest_of(data)]:
            return self.answer(400, b'{"errors": [{"code": "DIGEST_INVALID"}]}')
        owner.put(data)
        return self.answer(201)

    def _manifest(self, name: str) -> bool:
        if self.command == "PUT":
            data = self.body()
            self.owner.manifests[name] = self.owner.manifests[digest_of(data)] = data
            return self.answer(201, Docker_Content_Digest=digest_of(data))
        data = self.owner.manifests.get(name, b"")
        return self.answer(200, data) if data else self.answer(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
