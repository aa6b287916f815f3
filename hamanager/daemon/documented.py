"""Applications whose OpenAPI document says what they do: each route's summary is its function's
docstring, and its errors are the ones that it answers with."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict

from hamanager.model.access import AccessRole
from hamanager.version import program_version

V1 = "/v1"
"""What every path begins with: within it fields and routes are added, and none changes."""
DOCUMENT, PAGE = f"{V1}/openapi.json", f"{V1}/docs"

_WORDS = {
    400: "Something in the request is wrong; nothing was changed",
    401: "Over TCP: there is no proof of who asks",
    403: "The caller's role does not suffice; nothing was changed",
    404: "There is nothing of that name",
    409: "The present state does not allow it; nothing was changed",
    500: "It failed; the sentence says why",
}
_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "Of `hamanager token create NAME --role ROLE`",
    },
    "certificate": {
        "type": "mutualTLS",
        "description": "Over TLS: of `hamanager ca issue NAME --role ROLE`",
    },
}


class Problem(BaseModel):
    """What every answer is that is no success."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    error: str
    """One sentence for people."""
    exit_code: int
    """Of the command that asked: 1, or 2 for wrong usage."""


def problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """How a route can answer otherwise than by a success, for its `responses`."""
    return {code: {"model": Problem, "description": _WORDS[code]} for code in codes}


def told(status_code: int, sentence: str, exit_code: int) -> JSONResponse:
    """Such an answer."""
    problem = Problem(error=sentence, exit_code=exit_code)
    return JSONResponse(problem.model_dump(), status_code)


class Documented(FastAPI):
    """With `roles`: every route takes one, named in its description and as `x-role`."""

    def __init__(
        self,
        title: str,
        description: str,
        roles: Mapping[tuple[str, str], AccessRole] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(
            title=title,
            description=description,
            version=program_version(),
            openapi_url=DOCUMENT,
            docs_url=None,  # its page loads scripts from elsewhere
            redoc_url=None,
            generate_unique_id_function=_name,
            **more,
        )
        self._roles = roles
        self._making = threading.Lock()
        self._document: dict[str, Any] | None = None
        self.exception_handler(RequestValidationError)(_malformed)

    def openapi(self) -> dict[str, Any]:
        """The document; made once."""
        with self._making:
            if self._document is None:
                self._document = _improved(super().openapi(), self._roles)
            return self._document


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each with its method (`GET`) and path."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _name(route: APIRoute) -> str:
    return route.name


def _malformed(request: Request, error: RequestValidationError) -> JSONResponse:  # noqa: ARG001
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "path", "query"))
    problem = str(first["msg"])
    problem = problem[:1].lower() + problem[1:]
    return told(400, f"the request's {where or 'body'} is wrong: {problem}", 2)


def _improved(
    document: dict[str, Any], roles: Mapping[tuple[str, str], AccessRole] | None
) -> dict[str, Any]:
    for method, path, operation in operations(document):
        summary, _, more = operation.pop("description", "").partition("\n\n")
        operation["summary"] = " ".join(summary.split()).removesuffix(".")
        _tell_wrong_requests(operation)
        operation["responses"] = dict(sorted(operation["responses"].items()))
        if roles is not None:
            role = roles.get((method, path), AccessRole.ADMIN)
            operation["x-role"] = role.value
            more = f"Takes the role `{role.value}`. {more}".strip()
        if more:
            operation["description"] = " ".join(more.split())
    document["components"]["responses"] = _shared(document)
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    if roles is not None:
        document["components"]["securitySchemes"] = _SCHEMES
        document["security"] = [{scheme: []} for scheme in _SCHEMES]
    return document


def _tell_wrong_requests(operation: dict[str, Any]) -> None:
    """FastAPI says 422 where something can be wrong; we answer 400, in our own words."""
    operation["responses"].pop("422", None)
    asked = [p for p in operation.get("parameters", ()) if p["in"] != "path"]
    if asked or "requestBody" in operation:
        reference = {"$ref": f"#/components/schemas/{Problem.__name__}"}
        operation["responses"]["400"] = {
            "description": _WORDS[400],
            "content": {"application/json": {"schema": reference}},
        }


def _shared(document: dict[str, Any]) -> dict[str, Any]:
    """The answers that are problems, each written down once; routes refer to them."""
    found = {}
    for _, _, operation in operations(document):
        for code, answer in operation["responses"].items():
            if answer["description"] == _WORDS.get(int(code)):
                found[f"Problem{code}"] = answer
                operation["responses"][code] = {"$ref": f"#/components/responses/Problem{code}"}
    return dict(sorted(found.items()))
