"""Events that are told on are CloudEvents by the SDK's own reading; it came with KServe's client."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

from penstock.config import ExporterConfig
from penstock.observe.exporters.kserve_logger import KServeLogger
from penstock.records import Exchange
from penstock.tensors import Signature, TensorSpec
from sink_for_tests import Sink

READER = Path(__file__).parent / "cloudevents_reader.py"
PYTHON = Path(__file__).parents[2] / ".venv" / "kserve" / "bin" / "python"
pytestmark = [
    pytest.mark.foreign,
    pytest.mark.skipif(not PYTHON.exists(), reason="make test sets its environment up"),
]
SIGNATURE = Signature(
    inputs=(TensorSpec(name="text", datatype="BYTES", shape=(-1, 1)),),
    outputs=(TensorSpec(name="label", datatype="INT64", shape=(-1,)),),
)
STRANGE = 'a "b" %41 Ü水\r\nx: y'


def test_the_sdk_reads_what_the_logger_sends() -> None:
    exchange = Exchange(
        id="abc", endpoint=STRANGE, release=1, model="m", version=3, variant="canary", share=0.1, key="k",
        event_time=1.5, received_at=2.0, latency_s=0.25, code="ok", rows=2, client_id=STRANGE,
        inputs={"text": ["river", "水"]}, outputs={"label": [1, 0]},
    )  # fmt: skip
    with Sink() as sink:
        settings = ExporterConfig(url=sink.url, protocol="v1", namespace="prod", service="svc")
        KServeLogger(STRANGE, settings).send(exchange, SIGNATURE)
        sent = [[one.headers, one.body.decode()] for one in sink.taken]
    done = subprocess.run(
        [str(PYTHON), str(READER)], input=json.dumps(sent), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    request, response = json.loads(done.stdout)
    for event, kind, recorded in ((request, "request", "2.000000"), (response, "response", "2.250000")):
        attributes = event["attributes"]
        assert attributes["specversion"] == "1.0"
        assert attributes["id"] == "abc"
        assert attributes["type"] == f"org.kubeflow.serving.inference.{kind}"
        assert attributes["source"].startswith("/penstock/endpoints/")
        assert attributes["time"] == "1970-01-01T00:00:01.500000Z"
        assert attributes["recordedtime"] == f"1970-01-01T00:00:0{recorded}Z"
        assert attributes["datacontenttype"] == "application/json"
        assert (attributes["namespace"], attributes["component"]) == ("prod", "predictor")
        assert attributes["inferenceservicename"] == "svc"
        # The SDK leaves the binding's percent-encoding to its user.
        assert unquote(attributes["endpoint"]) == STRANGE
        metadata = json.loads(unquote(attributes["metadata"]))
        assert metadata == {"model": "m", "version": "3", "variant": "canary", "code": "ok", "client_id": STRANGE}
        assert "x" not in attributes, "no header was smuggled in"
    assert request["data"] == {"instances": ["river", "水"]}
    assert response["data"] == {"predictions": [1, 0]}
