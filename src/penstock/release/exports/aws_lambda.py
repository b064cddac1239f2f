"""A folder for AWS Lambda: an image of it (Dockerfile), or a zip archive.

The handler answers HTTP events of every kind, batches and direct invocations; see `penstock.serve.functions`.
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock.release.export import PYTHON, ExportSource, requirements, slug


class LambdaExport:
    """For AWS Lambda.

    Attributes:
        package: Where the package goes.
    """

    package = "package"

    def files(self, source: ExportSource) -> Mapping[str, str]:
        """Handler, requirements, Dockerfile, README."""
        return {
            "lambda_function.py": _handler(source),
            "requirements.txt": requirements(source, "awslambdaric>=4.2"),
            "Dockerfile": _dockerfile(),
            ".dockerignore": "README.md\nDockerfile\n",
            "README.md": _readme(source),
        }


def _handler(source: ExportSource) -> str:
    return f'''"""{source.ref} on AWS Lambda: events of every kind, direct invocations and batches."""

from pathlib import Path

from penstock.serve.functions.aws_lambda import open_function

handler = open_function(Path(__file__).parent, digest="{source.digest}", version={source.version})
'''


def _dockerfile() -> str:
    return f"""FROM python:{PYTHON}-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1
WORKDIR /function
COPY requirements.txt ./
RUN pip install --no-cache-dir --requirement requirements.txt && python -m compileall -q /usr/local/lib
COPY . ./
RUN chmod -R a+rX /function
ENTRYPOINT ["python", "-m", "awslambdaric"]
CMD ["lambda_function.handler"]
"""


def _readme(source: ExportSource) -> str:
    name = slug(source.model, 64)
    return f"""# {source.ref} as an AWS Lambda function

Package `{source.digest}`. The handler checks it against this digest, against the key `package.pub` beside it, and
against its golden examples when the function is initialized: another package does not start.

```
docker build --provenance=false --tag {name}:{source.version} .
docker tag {name}:{source.version} "$REPOSITORY/{name}:{source.version}"
docker push "$REPOSITORY/{name}:{source.version}"
aws lambda create-function --function-name {name} --package-type Image \\
  --code ImageUri="$REPOSITORY/{name}:{source.version}" --role "$ROLE" --memory-size 1024 --timeout 30
aws lambda invoke --function-name {name} --cli-binary-format raw-in-base64-out \\
  --payload '{{"instances": [...]}}' answer.json
```

As a zip archive: `pip install --requirement requirements.txt --target .`, then zip the folder; the handler is
`lambda_function.handler`.

Who may ask is the function's own policy (IAM, an authorizer). With `PENSTOCK_TOKEN_FILE` it asks for a token as well.
`PENSTOCK_PATH` is where events without a path go, `PENSTOCK_BASE_PATH` a prefix that a gateway adds. For queues and
streams set `FunctionResponseTypes` to `ReportBatchItemFailures`; answers to them are printed, one line of JSON each.

This Dockerfile was checked for its form when it was written. It has not been built.
"""
