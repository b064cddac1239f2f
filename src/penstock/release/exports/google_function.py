"""A folder for Google Cloud: a function (HTTP or CloudEvent) of the Functions Framework."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.release.export import PYTHON, ExportSource, requirements, slug


class GoogleFunctionExport:
    """For Google Cloud Functions and Cloud Run functions.

    Attributes:
        package: Where the package goes.
    """

    package = "package"

    def files(self, source: ExportSource) -> Mapping[str, str]:
        """Functions, requirements, README."""
        return {
            "main.py": _main(source),
            "requirements.txt": requirements(source, "functions-framework>=3.10"),
            "README.md": _readme(source),
        }


def _main(source: ExportSource) -> str:
    return f'''"""{source.ref} on Google Cloud: an HTTP function, and one for events."""

from pathlib import Path

import functions_framework

from penstock.serve.functions.google_cloud import open_function

answer = open_function(Path(__file__).parent, digest="{source.digest}", version={source.version})


@functions_framework.http
def predict(request):
    """Every path that the server has."""
    return answer.http(request)


@functions_framework.cloud_event
def predict_event(event):
    """The event's data is the body; its answer is printed as one line."""
    answer.event(event)
'''


def _readme(source: ExportSource) -> str:
    name = slug(source.model, 63).lower()
    runtime = "python" + PYTHON.replace(".", "")
    return f"""# {source.ref} as a Google Cloud function

Package `{source.digest}`. The function checks it against this digest, against the key `package.pub` beside it, and
against its golden examples when it starts: another package does not start.

```
gcloud functions deploy {name} --gen2 --runtime {runtime} --source . --entry-point predict \\
  --trigger-http --no-allow-unauthenticated --memory 1Gi
gcloud functions deploy {name}-events --gen2 --runtime {runtime} --source . --entry-point predict_event \\
  --trigger-topic "$TOPIC" --retry
```

On this machine: `functions-framework --source main.py --target predict --port 8080`.

Who may ask is the platform's to say. With `PENSTOCK_TOKEN_FILE` the function asks for a token as well.
On Cloud Run as a container nothing of this is needed: `penstock serve` listens on `PORT`, with
`--token-file`, or with `--behind platform` where Cloud Run requires authentication.
"""
