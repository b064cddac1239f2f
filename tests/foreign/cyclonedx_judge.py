"""Runs in CycloneDX's own environment: validate documents, read them into its own objects, check each package URL."""

import json
import sys
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from license_expression import get_spdx_licensing
from packageurl import PackageURL


def judge(path: str) -> dict[str, object]:
    text = Path(path).read_text()
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        return {"fault": str(error)[:2000]}
    bom = Bom.from_json(json.loads(text))
    purls = [one.purl.to_string() for one in bom.components if one.purl]
    expressions = [
        license["expression"]
        for one in json.loads(text)["components"]
        for license in one.get("licenses", [])
        if "expression" in license
    ]
    return {
        "fault": "",
        "model": bom.metadata.component.type.value,
        "purls": purls,
        "purls_again": [PackageURL.from_string(one).to_string() for one in purls],
        "odd_licenses": [one for one in expressions if get_spdx_licensing().validate(one).errors],
        "dependencies": len(bom.dependencies),
    }


print(json.dumps([judge(path) for path in sys.argv[1:]]))
