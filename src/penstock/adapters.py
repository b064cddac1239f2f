"""The table of everything that comes in kinds: kind -> name -> where it is, and what it needs installed.

To add an implementation: one file in the plural folder, one line here. `load` is the only look-up, imports
on first use, and raises on an unknown name; the contract suites in ``tests/contracts`` run over this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import NamedTuple

from penstock.errors import BadConfig, NotFound


class Adapter(NamedTuple):
    """One line of the table.

    Attributes:
        place: ``module:Name``.
        extra: The pip extra that brings its library; empty where the base wheel has it.
    """

    place: str
    extra: str = ""


_TABLE: dict[str, dict[str, Adapter]] = {
    "format": {
        # First, because they are told without the libraries that the others need.
        "savedmodel": Adapter("penstock.build.formats.savedmodel:SavedModelFormat", "tensorflow"),
        "keras": Adapter("penstock.build.formats.keras:KerasFormat", "tensorflow"),
        "onnx": Adapter("penstock.build.formats.onnx:OnnxFormat", "platform"),
        # Before pickles: PyTorch's oldest files are some, one behind the other.
        "torch": Adapter("penstock.build.formats.torch:TorchFormat", "torch"),
        "sklearn": Adapter("penstock.build.formats.sklearn:SklearnFormat", "platform"),
        "lightgbm": Adapter("penstock.build.formats.lightgbm:LightgbmFormat", "lightgbm"),
        "xgboost": Adapter("penstock.build.formats.xgboost:XgboostFormat", "xgboost"),
        "catboost": Adapter("penstock.build.formats.catboost:CatboostFormat", "catboost"),
        "skops": Adapter("penstock.build.formats.skops:SkopsFormat", "platform"),
        "huggingface": Adapter("penstock.build.formats.huggingface:HuggingFaceFormat", "platform"),
        "python": Adapter("penstock.build.formats.python:PythonFormat", "platform"),
        "mlflow": Adapter("penstock.build.formats.mlflow:MlflowFormat", "platform"),
    },
    "preprocess": {
        "clean": Adapter("penstock.runtime.transforms.clean:CleanStep"),
        "impute": Adapter("penstock.runtime.transforms.impute:ImputeStep"),
        "encode": Adapter("penstock.runtime.transforms.encode:EncodeStep"),
        "scale": Adapter("penstock.runtime.transforms.scale:ScaleStep"),
    },
    "postprocess": {
        "calibrate": Adapter("penstock.runtime.transforms.calibrate:CalibrateStep"),
        "threshold": Adapter("penstock.runtime.transforms.threshold:ThresholdStep"),
        "labels": Adapter("penstock.runtime.transforms.labels:LabelsStep"),
        "top": Adapter("penstock.runtime.transforms.top:TopStep"),
        "clip": Adapter("penstock.runtime.transforms.clip:ClipStep"),
        "round": Adapter("penstock.runtime.transforms.round:RoundStep"),
        "answer": Adapter("penstock.runtime.transforms.answer:AnswerStep"),
    },
    "emission": {
        "clean": Adapter("penstock.build.emissions.clean:CleanEmission", "platform"),
        "impute": Adapter("penstock.build.emissions.impute:ImputeEmission", "platform"),
        "encode": Adapter("penstock.build.emissions.encode:EncodeEmission", "platform"),
        "scale": Adapter("penstock.build.emissions.scale:ScaleEmission", "platform"),
        "calibrate": Adapter("penstock.build.emissions.calibrate:CalibrateEmission", "platform"),
        "threshold": Adapter("penstock.build.emissions.threshold:ThresholdEmission", "platform"),
        "labels": Adapter("penstock.build.emissions.labels:LabelsEmission", "platform"),
        "top": Adapter("penstock.build.emissions.top:TopEmission", "platform"),
        "clip": Adapter("penstock.build.emissions.clip:ClipEmission", "platform"),
        "round": Adapter("penstock.build.emissions.round:RoundEmission", "platform"),
        "answer": Adapter("penstock.build.emissions.answer:AnswerEmission", "platform"),
    },
    "compression": {
        "graph_optimization": Adapter("penstock.build.compressions.graph_optimization:GraphOptimization", "platform"),
        "float16": Adapter("penstock.build.compressions.float16:Float16", "platform"),
        "dynamic_int8": Adapter("penstock.build.compressions.dynamic_int8:DynamicInt8", "platform"),
        "static_int8": Adapter("penstock.build.compressions.static_int8:StaticInt8", "platform"),
        "pruning": Adapter("penstock.build.compressions.pruning:Pruning", "platform"),
    },
    "engine": {
        "onnxruntime": Adapter("penstock.runtime.engines.onnxruntime:OnnxRuntimeEngine"),
        "python": Adapter("penstock.runtime.engines.python:PythonEngine"),
    },
    "check": {
        "quality": Adapter("penstock.gate.checks.quality:QualityCheck", "platform"),
        "generalization": Adapter("penstock.gate.checks.generalization:GeneralizationCheck", "platform"),
        "robustness": Adapter("penstock.gate.checks.robustness:RobustnessCheck", "platform"),
        "stability": Adapter("penstock.gate.checks.stability:StabilityCheck", "platform"),
        "fairness": Adapter("penstock.gate.checks.fairness:FairnessCheck", "platform"),
        "latency": Adapter("penstock.gate.checks.latency:LatencyCheck", "platform"),
        "scan": Adapter("penstock.gate.checks.scan:ScanCheck", "platform"),
    },
    "store": {
        "sqlite": Adapter("penstock.registry.stores.sqlite:SqliteStore", "platform"),
    },
    "strategy": {
        "at-once": Adapter("penstock.release.strategies.at_once:AtOnce", "platform"),
        "blue-green": Adapter("penstock.release.strategies.blue_green:BlueGreen", "platform"),
        "canary": Adapter("penstock.release.strategies.canary:Canary", "platform"),
        "shadow": Adapter("penstock.release.strategies.shadow:Shadow", "platform"),
    },
    "target": {
        "local": Adapter("penstock.release.targets.local:LocalTarget", "platform"),
    },
    "export": {
        "lambda": Adapter("penstock.release.exports.aws_lambda:LambdaExport", "platform"),
        "google-function": Adapter("penstock.release.exports.google_function:GoogleFunctionExport", "platform"),
        "azureml": Adapter("penstock.release.exports.azureml:AzureMlExport", "platform"),
    },
    "rowcodec": {
        "v2.json": Adapter("penstock.serve.rowcodecs.v2json:V2JsonRows"),
        "v2.raw": Adapter("penstock.serve.rowcodecs.v2raw:V2RawRows"),
        "v2.grpc": Adapter("penstock.serve.rowcodecs.v2grpc:V2GrpcRows"),
        "v1.json": Adapter("penstock.serve.rowcodecs.v1json:V1JsonRows"),
    },
    "archive": {
        "mar": Adapter("penstock.packages.archives.mar:MarArchive"),
    },
    "reader": {
        "large-json": Adapter("penstock.serve.readers.largejson:LargeJson", "simd"),
        "parquet": Adapter("penstock.serve.readers.parquet:ParquetRows", "platform"),
    },
    "protocol": {
        # First, because whoever asks for one loads those before it: most speak this one, and no other has its paths.
        "v2": Adapter("penstock.serve.protocols.v2:V2Protocol"),
        # Before all others: its routes are those that its platform names, whosever else they are.
        "vertex": Adapter("penstock.serve.protocols.vertex:VertexProtocol"),
        # Before V1, whose ``GET /`` is Azure ML's where Azure ML runs this.
        "azureml": Adapter("penstock.serve.protocols.azureml:AzuremlProtocol"),
        "v1": Adapter("penstock.serve.protocols.v1:V1Protocol"),
        "tfs": Adapter("penstock.serve.protocols.tfs:TfsProtocol"),
        "openai": Adapter("penstock.serve.protocols.openai:OpenAiProtocol"),
        # MLflow's leaves SageMaker the paths that they share, where SageMaker runs this.
        "mlflow": Adapter("penstock.serve.protocols.mlflow:MlflowProtocol"),
        "sagemaker": Adapter("penstock.serve.protocols.sagemaker:SagemakerProtocol"),
        "torchserve": Adapter("penstock.serve.protocols.torchserve:TorchserveProtocol"),
    },
    "function": {
        "aws-lambda": Adapter("penstock.serve.functions.aws_lambda:LambdaFunction"),
        "google-cloud": Adapter("penstock.serve.functions.google_cloud:GoogleFunction"),
        "azure-ml": Adapter("penstock.serve.functions.azure_ml:AzureMlFunction"),
    },
    "lane": {
        "inline": Adapter("penstock.serve.lanes.inline:InlineLane"),
        "thread": Adapter("penstock.serve.lanes.thread:ThreadLane"),
        "sandbox": Adapter("penstock.serve.lanes.sandbox:SandboxLane"),
    },
    "service": {
        "inference": Adapter("penstock.serve.services.inference:InferenceService"),
        "health": Adapter("penstock.serve.services.health:HealthService"),
        "reflection": Adapter("penstock.serve.services.reflection:ReflectionService"),
        "tfserving": Adapter("penstock.serve.services.tfserving:TfServingService"),
    },
    "listener": {
        "grpc": Adapter("penstock.serve.listeners.grpc:GrpcState"),
    },
    "transport": {
        "rest": Adapter("penstock.conformance.transports.rest:RestTransport"),
        "grpc": Adapter("penstock.conformance.transports.grpc:GrpcTransport", "conformance"),
    },
    "exporter": {
        "kserve-logger": Adapter("penstock.observe.exporters.kserve_logger:KServeLogger", "platform"),
    },
    "detector": {
        "distribution": Adapter("penstock.observe.detectors.distribution:DistributionDetector", "platform"),
        "schema": Adapter("penstock.observe.detectors.schema:SchemaDetector", "platform"),
        "calibration": Adapter("penstock.observe.detectors.calibration:CalibrationDetector", "platform"),
        "risk": Adapter("penstock.observe.detectors.risk:RiskDetector", "platform"),
        "estimate": Adapter("penstock.observe.detectors.estimate:EstimateDetector", "platform"),
    },
}

TABLE: Mapping[str, Mapping[str, Adapter]] = MappingProxyType(
    {kind: MappingProxyType(names) for kind, names in _TABLE.items()}
)


def load(kind: str, name: str) -> type:
    """The class behind a name.

    Raises:
        NotFound: The table has no such kind or name; the hint lists those it has.
        BadConfig: Its library is not installed; the hint is the command that installs it.
    """
    known = TABLE.get(kind)
    if known is None:
        raise NotFound(f"there is no kind of adapter called {kind}", f"there are {', '.join(TABLE)}")
    adapter = known.get(name)
    if adapter is None:
        raise NotFound(f"there is no {kind} called {name}", f"there are {', '.join(known)}")
    module, _, attribute = adapter.place.partition(":")
    try:
        found: type = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] == "penstock":
            raise
        raise BadConfig(
            f"the {kind} {name} needs {error.name}, which is not installed",
            f"pip install 'penstock[{adapter.extra or 'platform'}]'",
        ) from error
    return found
