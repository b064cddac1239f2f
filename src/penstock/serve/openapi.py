"""Stage 4, serve: a model's signature as a document that tools make clients from: Swagger 2.0 or OpenAPI 3.0.

Comes in: a signature and a name. Goes out: what ``/score`` takes and answers, one row a list or an object by column.
"""

from __future__ import annotations

from penstock.serve.rowvalues import is_matrix
from penstock.tensors import FLOATS, Signature, TensorSpec

Document = dict[str, object]
_INPUT, _OUTPUT, _ERROR = "ServiceInput", "ServiceOutput", "ErrorResponse"
_JSON = "application/json"


def swagger(signature: Signature, name: str, generation: str) -> Document:
    """The document of an endpoint.

    Args:
        signature: Of its model.
        name: Its title.
        generation: ``2`` for Swagger 2.0, ``3`` for OpenAPI 3.0.
    """
    rows: Document = {"type": "array", "items": _row(signature, generation)}
    schemas: Document = {
        _INPUT: {"type": "object", "required": ["data"], "properties": {"data": rows}},
        _OUTPUT: {"type": "array", "items": _answer(signature, generation)},
        _ERROR: {"type": "object", "properties": {"message": {"type": "string"}}},
    }
    about = {"title": name, "description": f"Predictions of {name}", "version": "1.0"}
    if generation == "2":
        return {
            "swagger": "2.0",
            "info": about,
            "consumes": [_JSON],
            "produces": [_JSON],
            "securityDefinitions": {"Bearer": {"type": "apiKey", "name": "Authorization", "in": "header"}},
            "paths": _paths_2(),
            "definitions": schemas,
        }
    return {
        "openapi": "3.0.3",
        "info": about,
        "security": [{"Bearer": []}],
        "paths": _paths_3(),
        "components": {"securitySchemes": {"Bearer": {"type": "http", "scheme": "bearer"}}, "schemas": schemas},
    }


def _paths_2() -> Document:
    def answers(schema: Document) -> Document:
        default = {"description": "What was wrong", "schema": {"$ref": f"#/definitions/{_ERROR}"}}
        return {"200": {"description": "As asked", "schema": schema}, "default": default}

    given = {"name": "serviceInputPayload", "in": "body", "schema": {"$ref": f"#/definitions/{_INPUT}"}}
    text: Document = {"type": "string"}
    health = {"operationId": "ServiceHealthCheck", "produces": ["text/plain"], "responses": answers(text)}
    score = {
        "operationId": "RunMLService",
        "parameters": [given],
        "responses": answers({"$ref": f"#/definitions/{_OUTPUT}"}),
    }
    return {"/": {"get": health}, "/score": {"post": score}}


def _paths_3() -> Document:
    def content(schema: Document, kind: str = _JSON) -> Document:
        return {"content": {kind: {"schema": schema}}}

    def answers(found: Document) -> Document:
        default = {"description": "What was wrong", **content({"$ref": f"#/components/schemas/{_ERROR}"})}
        return {"200": {"description": "As asked", **found}, "default": default}

    given = {"required": True, **content({"$ref": f"#/components/schemas/{_INPUT}"})}
    health = {"operationId": "ServiceHealthCheck", "responses": answers(content({"type": "string"}, "text/plain"))}
    score = {
        "operationId": "RunMLService",
        "requestBody": given,
        "responses": answers(content({"$ref": f"#/components/schemas/{_OUTPUT}"})),
    }
    return {"/": {"get": health}, "/score": {"post": score}}


def _row(signature: Signature, generation: str) -> Document:
    """One row of a request."""
    if is_matrix(signature):
        return _nested(signature.inputs[0], signature.inputs[0].shape[1:], generation)
    columns = {spec.name: _value(spec, generation) for spec in signature.inputs}
    return {"type": "object", "required": list(columns), "properties": columns}


def _answer(signature: Signature, generation: str) -> Document:
    """One row of an answer."""
    found = {spec.name: _nested(spec, spec.shape[1:], generation) for spec in signature.outputs}
    return next(iter(found.values())) if len(found) == 1 else {"type": "object", "properties": found}


def _nested(spec: TensorSpec, shape: tuple[int, ...], generation: str) -> Document:
    """Values of one row, nested as deep as its shape."""
    if not shape:
        return _value(spec, generation)
    found: Document = {"type": "array", "items": _nested(spec, shape[1:], generation)}
    return found if shape[0] < 0 else {**found, "minItems": shape[0], "maxItems": shape[0]}


def _value(spec: TensorSpec, generation: str) -> Document:
    """One value; that it may be missing only OpenAPI 3 can say, Swagger 2 by an extension."""
    if spec.datatype in FLOATS:
        found: Document = {"type": "number", "format": "double" if spec.datatype == "FP64" else "float"}
    elif spec.datatype == "BYTES":
        found = {"type": "string"}
    elif spec.datatype == "BOOL":
        found = {"type": "boolean"}
    else:
        found = {"type": "integer", "format": "int64" if spec.datatype.endswith("64") else "int32"}
    if spec.nullable:
        found["nullable" if generation == "3" else "x-nullable"] = True
    return found
