"""Stage 4, serve: what a cloud's environment says of the data plane that it starts: where the model lies, which port.

Comes in: environment variables. Goes out: a `Hosting`, or None on a machine that is nobody's platform.

A platform lets through only whom it has authenticated, and sends no token of ours: who is started by one listens on
every address and asks for none. Knative sets what Cloud Run sets and lets everybody through, and so does Cloud Run
where it is told to: there, somebody has to say who may ask.

Sources: Amazon SageMaker, "Use your own inference code with hosting services";
Vertex AI, "Custom container requirements"; Cloud Run, "Container runtime contract"; Azure ML, "Use a custom container".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from penstock.errors import BadConfig

MACHINE = Path("/")
AZURE_PORT = 5001
"""Where Azure ML's own server listens; a deployment's routes may name another, which --port then says."""
_PREFIXES = ("SAGEMAKER_", "SM_MODEL_DIR")
_FILE = "file://"


class Hosting(msgspec.Struct, frozen=True):
    """What a platform wants.

    Attributes:
        platform: Its name.
        port: Where it calls.
        package: Folder of the one package; empty where there is none.
        models: Folder below which packages come at run time; empty where none may.
        knows: Its front lets through only whom it has authenticated.
    """

    platform: str
    port: int
    package: str = ""
    models: str = ""
    knows: bool = True


def hosting(environment: Mapping[str, str], machine: Path = MACHINE, *, given: bool = False) -> Hosting | None:
    """What the environment says.

    Args:
        environment: Of the process.
        machine: The root of the file system; another one in tests.
        given: Somebody said which package to serve. Notebooks of SageMaker have its variables, too, so there they
            count for nothing then.

    Raises:
        BadConfig: A port is no number, or the model lies where it cannot be read from.
    """
    if "AIP_HTTP_PORT" in environment or (not given and "AIP_STORAGE_URI" in environment):
        return _vertex(environment, given=given)
    if "K_SERVICE" in environment:
        return Hosting("Cloud Run", _port(environment, "PORT"), knows=False)
    if "AZUREML_MODEL_DIR" in environment:
        folder = Path(environment["AZUREML_MODEL_DIR"])
        return Hosting("Azure ML", AZURE_PORT, package="" if given else str(_below(folder)))
    if given:
        return None
    if is_sagemaker(environment) or (machine / "opt/ml/model").is_dir():
        return _sagemaker(environment, machine / "opt/ml")
    return None


def is_sagemaker(environment: Mapping[str, str]) -> bool:
    """Whether SageMaker's variables are there."""
    return any(name.startswith(_PREFIXES) for name in environment)


def is_multi_model(environment: Mapping[str, str]) -> bool:
    """Whether SageMaker loads and unloads models as they are asked for."""
    return environment.get("SAGEMAKER_MULTI_MODEL", "").strip().lower() == "true"


def _below(folder: Path) -> Path:
    """The package in a folder that was uploaded, which may be that folder or one in it."""
    manifests = sorted(folder.rglob("manifest.json"), key=lambda path: (len(path.parts), path))
    return manifests[0].parent if manifests else folder


def _sagemaker(environment: Mapping[str, str], folder: Path) -> Hosting:
    port = _port(environment, "SAGEMAKER_BIND_TO_PORT")
    if is_multi_model(environment):
        return Hosting("SageMaker", port, models=environment.get("SAGEMAKER_MODELS_DIR", str(folder / "models")))
    return Hosting("SageMaker", port, package=environment.get("SM_MODEL_DIR", str(folder / "model")))


def _vertex(environment: Mapping[str, str], *, given: bool) -> Hosting:
    place = "" if given else environment.get("AIP_STORAGE_URI", "")
    if "://" in place and not place.startswith(_FILE):
        raise BadConfig(
            "AIP_STORAGE_URI names a bucket, and no cloud's library is here to read it",
            "put the package into the image and say penstock serve FOLDER, or mount the bucket and name the folder",
            code="serve.remote_model",
        )
    return Hosting("Vertex AI", _port(environment, "AIP_HTTP_PORT"), package=place.removeprefix(_FILE))


def _port(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "8080")
    if not text.isdecimal() or not 0 <= int(text) < 65536:
        raise BadConfig(f"{name} is no port", "set a number from 0 to 65535")
    return int(text)
