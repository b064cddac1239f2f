"""Who is measured: one entry a server.

A new peer is a file in `peers/`, a requirements file beside it, and an entry here. In commands ``{port}``,
``{workers}``, ``{bin}`` (its environment's), ``{peers}``, ``{limits}``, ``{scratch}`` and the model's ``{onnx}``,
``{package}``, ``{joblib}``, ``{rows}`` are filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from bench import layouts
from bench.layouts import TOKEN, Setting

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


@dataclass(frozen=True)
class System:
    """One server, or one loop without a server.

    Attributes:
        title: As the tables have it.
        environment: Name of its requirements file.
        command: Words, with placeholders.
        kind: A ``loop`` prints its own figures and listens on nothing.
        paths: By traffic, where it differs from the dialect's own.
        headers: Sent with every request.
        variables: Environment variables, with placeholders.
        prepare: Writes the files that it wants.
        port_after: It answers on the port so many after the one it was given.
        needs: Programs without which it is left out.
        imports: What a process of it has imported before it serves.
    """

    title: str
    environment: str
    command: str
    kind: Literal["server", "loop"] = "server"
    paths: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Setting], None] | None = None
    port_after: int = 0
    needs: tuple[str, ...] = ()
    imports: str = ""


_UNLOGGED = (
    "{bin}/python -m penstock.serve --package {package} --port {port} --workers {workers} --spares 0"
    " --token-file {scratch}/token --keys {keys}"
)
_OURS = _UNLOGGED + " --log-dir {scratch}/log/journal"
_UVICORN = (
    "{bin}/uvicorn --loop uvloop --http httptools --no-access-log --log-level warning --host 127.0.0.1 --port {port}"
    " --workers {workers} --app-dir {peers} "
)
_FASTAPI = "uvicorn, uvloop, httptools, fastapi, pydantic, numpy, onnxruntime"
_TRITON = (
    "{triton}/bin/tritonserver --model-repository={scratch}/repository --backend-directory={triton}/backends"
    " --http-address=127.0.0.1 --http-port={port} --grpc-address=127.0.0.1 --grpc-port={port1}"
    " --allow-metrics=false --log-warning=false --log-info=false"
)
_TRITON_VARIABLES = {
    "LD_LIBRARY_PATH": "{triton}/external_libs:{triton}/lib",
    "PYTHONPATH": "{site}",
}
_MLFLOW = "{bin}/mlflow models serve -m {scratch}/mlflow --env-manager local -h 127.0.0.1 -p {port} -w {workers}"

SYSTEMS: dict[str, System] = {
    "penstock": System(
        "Penstock", "penstock", _OURS, headers=AUTHORIZED, prepare=layouts.token, imports="penstock.serve.worker"
    ),
    "penstock_unlogged": System(
        "Penstock without its log", "penstock", _UNLOGGED, headers=AUTHORIZED, prepare=layouts.token
    ),
    "penstock_simd": System(
        "Penstock with its extra simd", "penstock_simd", _OURS, headers=AUTHORIZED, prepare=layouts.token
    ),
    "penstock_before": System(
        "Penstock before its request path was rebuilt", "penstock_before", _OURS, headers=AUTHORIZED,
        prepare=layouts.token,
    ),
    "penstock_python": System(
        "Penstock, sandboxed Python model", "penstock_python", _OURS, headers=AUTHORIZED, prepare=layouts.token
    ),
    "penstock_grpc": System(
        "Penstock gRPC", "penstock", _OURS + " --grpc-port {port1}", headers=AUTHORIZED, prepare=layouts.token,
        port_after=1,
    ),
    "hello": System("our listener, fixed answer", "penstock", "{bin}/python {limits}/hello.py {port}"),
    "bare": System("bare uvloop protocol, fixed answer", "penstock", "{bin}/python {limits}/bare.py {port}"),
    "ort": System(
        "ONNX Runtime in a loop", "penstock", "{bin}/python {limits}/ort_loop.py {rows}", kind="loop",
        variables={"PYTHONPATH": "{peers}"},
    ),
    "hop": System(
        "the sandbox's hop", "penstock_python", "{bin}/python {limits}/hop.py {package} {rows}", kind="loop"
    ),
    "fastapi": System("FastAPI + ONNX Runtime", "fastapi", _UVICORN + "fastapi_ort:app", imports=_FASTAPI),
    "fastapi_images": System("FastAPI + ONNX Runtime", "fastapi", _UVICORN + "fastapi_images:app"),
    "fastapi_everyday": System("FastAPI + pydantic + ONNX Runtime", "fastapi", _UVICORN + "fastapi_everyday:app"),
    "mosec": System(
        "mosec", "mosec", "{bin}/python {peers}/mosec_ort.py --address 127.0.0.1 --port {port} --log-level warning",
        paths={"rows": "/inference"}, imports="mosec, numpy, onnxruntime",
    ),
    "triton": System(
        "Triton, python backend", "triton", _TRITON, variables=_TRITON_VARIABLES, prepare=layouts.triton
    ),
    "triton_grpc": System(
        "Triton gRPC, python backend", "triton", _TRITON, variables=_TRITON_VARIABLES, prepare=layouts.triton,
        port_after=1,
    ),
    "grpcio": System("grpcio.aio", "grpcio", "{bin}/python {peers}/grpcio_aio.py {port}", prepare=layouts.grpc_stubs),
    "mlflow": System(
        "MLflow models serve", "mlflow", _MLFLOW, prepare=layouts.mlflow,
        variables={"MLFLOW_DISABLE_ENV_CREATION": "true"}, imports="mlflow.pyfunc.scoring_server, mlflow.sklearn",
    ),
    "bentoml": System(
        "BentoML", "bentoml",
        "{bin}/bentoml serve bentoml_ort:Trees --working-dir {peers} --host 127.0.0.1 --port {port}"
        " --api-workers {workers}",
        variables={"BENTOML_DO_NOT_TRACK": "true", "BENTOML_HOME": "{scratch}/bento"},
        imports="bentoml, numpy, onnxruntime",
    ),
    "litserve": System(
        "LitServe", "litserve", "{bin}/python {peers}/litserve_ort.py {port}", variables={"LIT_SERVE_TELEMETRY": "0"},
        imports="litserve, numpy, onnxruntime",
    ),
    "mlserver": System(
        "MLServer", "mlserver", "{bin}/mlserver start {scratch}/mlserver", prepare=layouts.mlserver,
        imports="mlserver, mlserver_sklearn",
    ),
    "kserve": System(
        "KServe", "kserve", "{bin}/python {peers}/kserve_ort.py {port}", imports="kserve, numpy, onnxruntime"
    ),
    "torchserve": System(
        "TorchServe", "torchserve",
        "{bin}/torchserve --foreground --ncs --disable-token-auth --model-store {scratch}/store"
        " --models small=small.mar --ts-config {scratch}/torchserve.properties",
        paths={"rows": "/predictions/small"}, prepare=layouts.torchserve, needs=("java",),
        variables={
            "TMPDIR": "{scratch}", "LOG_LOCATION": "{scratch}", "METRICS_LOCATION": "{scratch}",
            "PYTHONPATH": "{peers}",
        },
    ),
    "ray": System(
        "Ray Serve", "ray", "{bin}/python {peers}/ray_ort.py {port}",
        variables={"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}, imports="ray.serve, numpy, onnxruntime",
    ),
}  # fmt: skip
