"""A folder for an Azure ML managed online endpoint: model, scoring script, environment, endpoint and deployment.

``score.py`` runs under Azure's own inference server; the deployment's YAML is what ``az ml`` and azure-ai-ml load.
"""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from penstock.release.export import PYTHON, ExportSource, requirements, slug

_SCHEMAS = "https://azuremlschemas.azureedge.net/latest"
_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest"


class AzureMlExport:
    """For Azure ML.

    Attributes:
        package: Where the package goes: below the model that is uploaded.
    """

    package = "model/package"

    def files(self, source: ExportSource) -> Mapping[str, str]:
        """Scoring script, Swagger documents, environment, endpoint, deployment, README."""
        swaggers = {f"code/swagger{version}.json": text for version, text in source.documents.items()}
        return {
            "code/score.py": _score(source),
            **swaggers,
            "environment/conda.yml": _yaml(_conda(source)),
            "environment/requirements.txt": requirements(source, _SERVER),
            "endpoint.yml": _yaml(_endpoint(source)),
            "deployment.yml": _yaml(_deployment(source)),
            "README.md": _readme(source),
        }


_SERVER = "azureml-inference-server-http>=1.4"


def _score(source: ExportSource) -> str:
    return f'''"""{source.ref} under Azure ML's inference server."""

import os
from pathlib import Path

from azureml_inference_server_http.api.aml_request import rawhttp
from azureml_inference_server_http.api.aml_response import AMLResponse

from penstock.serve.functions.azure_ml import open_function

answer = None


def init():
    """Open the package that lies in the model's folder, or in one below it."""
    global answer
    place = next(Path(os.environ["AZUREML_MODEL_DIR"]).rglob("package/manifest.json"))
    answer = open_function(place.parents[1], digest="{source.digest}", version={source.version})


@rawhttp
def run(request):
    """A request with its status and headers, as the server answers it."""
    found = answer(request)
    return AMLResponse(found.body, found.status, found.headers, run_function_failed=found.failed)
'''


def _conda(source: ExportSource) -> dict[str, object]:
    return {
        "name": slug(source.model, 32),
        "channels": ["conda-forge"],
        "dependencies": [f"python={PYTHON}", "pip", {"pip": [*source.requirements, _SERVER]}],
    }


def _endpoint(source: ExportSource) -> dict[str, object]:
    return {
        "$schema": f"{_SCHEMAS}/managedOnlineEndpoint.schema.json",
        "name": slug(source.model, 32),
        "auth_mode": "key",
    }


def _deployment(source: ExportSource) -> dict[str, object]:
    probe = {"initial_delay": 10, "period": 10, "timeout": 2, "success_threshold": 1, "failure_threshold": 30}
    return {
        "$schema": f"{_SCHEMAS}/managedOnlineDeployment.schema.json",
        "name": f"v{source.version}",
        "endpoint_name": slug(source.model, 32),
        "model": {"name": slug(source.model, 32), "version": source.version, "path": "./model"},
        "code_configuration": {"code": "./code", "scoring_script": "score.py"},
        "environment": {"image": _IMAGE, "conda_file": "./environment/conda.yml"},
        "environment_variables": {"WORKER_COUNT": "1", "OPENBLAS_NUM_THREADS": "1"},
        "instance_type": "Standard_DS3_v2",
        "instance_count": 1,
        "request_settings": {"request_timeout_ms": 5000, "max_concurrent_requests_per_instance": 1},
        "liveness_probe": probe,
        "readiness_probe": probe,
    }


def _yaml(document: dict[str, object]) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def _readme(source: ExportSource) -> str:
    name = slug(source.model, 32)
    return f"""# {source.ref} as an Azure ML online endpoint

Package `{source.digest}`. `score.py` checks it against this digest, against the key `package.pub` beside it, and
against its golden examples when the server starts: another package does not start.

```
az ml online-endpoint create --file endpoint.yml
az ml online-deployment create --file deployment.yml --all-traffic
az ml online-endpoint invoke --name {name} --request-file rows.json
```

`rows.json` holds `{{"data": [...]}}`, `{{"input_data": {{"columns": [...], "data": [...]}}}}`, or a list of rows alone.
On this machine: `azmlinfsrv --entry_script code/score.py --model_dir model`.
"""
