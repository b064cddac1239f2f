"""Tasks of the build in forks of one sandboxed template, so that nine hundred of them take minutes.

run_task(entry, arguments, ...) as `penstock.runtime.sandbox.run_task`, but no interpreter is started for it
"""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path

from penstock.errors import ModelFailed
from penstock.runtime import sandbox
from penstock.runtime.limits import Quota
from penstock.runtime.process import Confined, died, receive
from penstock.runtime.sandbox import start_worker

ENTRY = f"{Path(__file__).with_name('within.py')}:serve"
PRELOAD = (
    "penstock.build.examine", "penstock.runtime.imports", "penstock.build.formats.sklearn", "penstock.build.formats.skops",
    "penstock.build.formats.onnx", "penstock.build.formats.lightgbm", "penstock.build.formats.xgboost",
    "penstock.build.formats.huggingface", "penstock.build.formats.mlflow", "penstock.build.formats.python",
    "penstock.build.estimators", "penstock.build.compile", "skl2onnx", "onnxmltools", "yaml", "sklearn.pipeline",
    "sklearn.ensemble", "sklearn.neural_network", "sklearn.svm", "sklearn.neighbors", "sklearn.compose", "sklearn.impute",
)  # fmt: skip
PATIENCE_S = 30.0


class Forks:
    """Stands for `run_task` while the judge runs.

    Args:
        work: Everything below may be read by the tasks.
        scratch: Folder of the template.
    """

    def __init__(self, work: Path, scratch: Path) -> None:
        self._work = work
        self._scratch = scratch
        self._template: Confined | None = None
        self.started = 0

    def run_task(
        self,
        entry: str,
        arguments: object,
        *,
        read: Sequence[Path],
        scratch: Path,
        python: Path | None = None,
        limits: Quota = Quota(),  # noqa: B008
    ) -> object:
        """Parameters and errors as `penstock.runtime.sandbox.run_task`."""
        del read, python
        template = self._ready()
        worker = template.fork()
        deadline = time.monotonic() + min(limits.time_s, PATIENCE_S)
        try:
            worker.know(deadline)
            if worker.channel.recv(1) != b"!":
                raise RuntimeError(f"the template cannot fork: {worker.channel.recv(200)!r}")
            data = json.dumps({"entry": entry, "arguments": arguments}).encode()
            worker.channel.sendall(len(data).to_bytes(4, "little") + data)
            answer = receive(worker.channel, 256 << 20, deadline=deadline)
        except TimeoutError:
            raise ModelFailed(
                f"{entry} took longer than {PATIENCE_S:g} s in the sandbox",
                "make it faster or allow it more time",
                code="runtime.timeout",
            ) from None
        except (EOFError, ConnectionError):
            raise died(entry, worker.close()) from None
        finally:
            worker.close()
        for name, data in json.loads(answer).get("files", {}).items():
            (scratch / Path(name).name).write_bytes(b64decode(data))
        return sandbox._answer(entry, answer)

    def close(self) -> None:
        """End the template."""
        if self._template is not None:
            self._template.close()
            self._template = None

    def _ready(self) -> Confined:
        """The template; a new one where the last one died."""
        if self._template is None:
            limits = Quota(time_s=600.0)
            self._template = start_worker(
                ENTRY,
                {"preload": PRELOAD},
                read=[self._work, Path(__file__).parent],
                scratch=self._scratch,
                limits=limits,
            )
            self._template.channel.settimeout(240)
            if self._template.channel.recv(1) != b"!":
                raise RuntimeError("the template did not start")
            self.started += 1
        return self._template
