"""A small V2 server with no line of ours in it: right in everything that the kit asks of REST, but for what is planted.

Its model doubles ``x``, FP32 ``[-1, 2]``, into ``y``; it has the extension statistics.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = re.compile(r"/v2/models/twice(?:/versions/1)?(/ready|/infer|/stats|/config)?")
DATATYPES = [
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
]
PLANTS = {
    "id": ("required", "infer.id"),
    "error": ("required", "errors.json"),
    "flat-rows": ("required", "infer.rows"),
    "head": ("recommended", "health.live.head"),
    "fault": ("recommended", "errors.longer.4xx"),
    "row-order": ("recommended", "property.permuted-rows"),
    "statistics": ("extension", "statistics.model"),
}
"""What can be planted, with its level and a case that shows it."""


class Wrong(Exception):
    """What a request is refused with."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    plant = ""
    infers = 0

    def do_GET(self) -> None:
        path = self.path.split("?")[0].rstrip("/")
        found = MODEL.fullmatch(path)
        if self.plant == "closes-ready" and path == "/v2/health/ready":
            self.close_connection = True
        elif path in ("/v2/health/live", "/v2/health/ready"):
            self.say(200, {path.rpartition("/")[2]: True})
        elif path == "/v2":
            more = ["model_configuration"] if self.plant == "configured" else []
            self.say(200, {"name": "small", "version": "1", "extensions": ["statistics", *more]})
        elif path == "/v2/models":
            self.say(200, {"models": ["twice"]})
        elif path == "/v2/models/stats" or (found and found[1] == "/stats"):
            self.say(200, {"model_stats": [self.statistics()]})
        elif found and found[1] == "/config":
            io = {"input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [2]}], "output": [{"name": "y"}]}
            self.say(200, {"name": "twice", "max_batch_size": 2, **io})
        elif found and found[1] == "/ready":
            self.say(200, {"name": "twice", "ready": True})
        elif found and found[1] == "/infer":
            self.say(405, {"error": "ask with POST"})
        elif found:
            tensor = {"datatype": "FP32", "shape": [-1, 2]}
            io = {"inputs": [{"name": "x", **tensor}], "outputs": [{"name": "y", **tensor}]}
            self.say(200, {"name": "twice", "versions": ["1"], "platform": "python", **io})
        else:
            self.say(404, {"error": "there is nothing there"})

    def do_HEAD(self) -> None:
        if self.plant == "head":
            self.say(405, {"error": "no HEAD"})
        else:
            self.do_GET()

    def do_POST(self) -> None:
        body = self.body()
        found = MODEL.fullmatch(self.path)
        if self.plant == "hangs":
            time.sleep(30)
        if self.plant == "closes":
            self.close_connection = True
            return
        if self.plant == "nonsense":
            self.wfile.write(b"this is no HTTP\r\n\r\n")
            self.close_connection = True
            return
        if not found or found[1] != "/infer":
            return self.say(405 if found else 404, {"error": "there is nothing there"})
        try:
            self.say(200, self.infer(body))
        except Wrong as wrong:
            self.say(wrong.status, {"detail" if self.plant == "error" else "error": str(wrong)})

    def infer(self, body: bytes) -> dict:
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        try:
            asked = json.loads(body)
        except ValueError:
            raise Wrong(400, "the body is not JSON") from None
        values, rows = tensor(asked)
        if self.plant in ("two-rows", "configured") and rows > 2:
            raise Wrong(400, "two rows at most")
        outputs = asked.get("outputs") or [{"name": "y"}]
        if [one.get("name") for one in outputs] != ["y"]:
            raise Wrong(400, "the model has y alone")
        data = [2 * value for value in values]
        if self.plant == "row-order" and rows > 1:
            data = data[:2] * rows
        shape = [rows * 2] if self.plant == "flat-rows" and rows > 1 else [rows, 2]
        Handler.infers += 1
        output = {"name": "y", "datatype": "FP32", "shape": shape, "data": data}
        said = {"model_name": "twice", "model_version": "1", "outputs": [output]}
        return said if self.plant == "id" or "id" not in asked else {**said, "id": asked["id"]}

    def statistics(self) -> dict:
        counted = {"count": self.infers, "ns": 0}
        stats = {"success": counted, "fail": counted, "queue": counted}
        count = str(self.infers) if self.plant == "statistics" else self.infers
        inferences = {"inference_count": count, "execution_count": count, "inference_stats": stats}
        return {"name": "twice", "version": "1", **inferences}

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def say(self, status: int, said: dict) -> None:
        if self.plant == "fault" and "length" in str(said):
            status = 500
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Nothing."""


def tensor(asked: object) -> tuple[list[float], int]:
    """The values of the one input, flat, and how many rows they are."""
    inputs = asked.get("inputs") if isinstance(asked, dict) else None
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise Wrong(400, "the model has one input")
    one = inputs[0]
    if one.get("name") != "x" or one.get("datatype") not in DATATYPES or one["datatype"] != "FP32":
        raise Wrong(400, "the input is x, FP32")
    shape = one.get("shape")
    good = isinstance(shape, list) and len(shape) == 2 and all(isinstance(size, int) and size > 0 for size in shape)
    if not good or shape[1] != 2:
        raise Wrong(400, "the shape is [-1, 2]")
    data = one.get("data")
    if not isinstance(data, list):
        raise Wrong(400, "data are a list")
    if data and all(isinstance(row, list) for row in data):
        if any(len(row) != 2 for row in data):
            raise Wrong(400, "the length is not the shape's")
        data = [value for row in data for value in row]
    if any(type(value) not in (int, float) for value in data):
        raise Wrong(400, "data are numbers")
    if len(data) != math.prod(shape):
        raise Wrong(400, "the length is not the shape's")
    return data, shape[0]


@contextmanager
def small_server(plant: str = "") -> Iterator[str]:
    """Its URL while it runs."""
    handler = type("Planted", (Handler,), {"plant": plant})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
