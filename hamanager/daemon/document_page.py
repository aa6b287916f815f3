"""OpenAPI documents as one page for people: no script, no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from fastapi.responses import HTMLResponse

from hamanager.daemon.documented import operations

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, "Segoe UI", "Helvetica Neue", "DejaVu Sans", sans-serif;
  max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem }
h2 { margin-top: 3rem } h3 { margin: 2rem 0 .3rem; font-size: 1rem; overflow-wrap: anywhere }
code, h3 { font-family: ui-monospace, "DejaVu Sans Mono", monospace }
h3 b { display: inline-block; min-width: 4.5em } p { margin: .3rem 0 }
table { border-collapse: collapse; width: 100%; margin: .4rem 0; font-size: 14px }
th, td { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0;
  border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent) }
td:first-child { white-space: nowrap }
.role { border: 1px solid; border-radius: 4px; padding: 0 .4em; font-size: 13px }
nav ul { columns: 18rem; padding-left: 1.2rem } nav li { overflow-wrap: anywhere }
"""

Values = Mapping[str, Any]


def document_page(documents: Mapping[str, Values]) -> HTMLResponse:
    """The documents, by what their paths begin with where they are offered."""
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
    return HTMLResponse(page("The HTTP API of hamanager", documents), headers=headers)


def page(title: str, documents: Mapping[str, Values]) -> str:
    """The same as text."""
    parts = [part for prefix, one in documents.items() for part in _document(prefix, one)]
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def _document(prefix: str, document: Values) -> Iterator[str]:
    info, components = document["info"], document["components"]
    yield f"<h2>{escape(info['title'])} {escape(info['version'])}</h2>"
    yield f"<p>{escape(info['description'])}.</p>"
    listed = [
        f'<li><a href="#{_anchor(prefix, operation["operationId"])}">{escape(method)}'
        f" {escape(prefix + path)}</a></li>"
        for method, path, operation in operations(document)
    ]
    yield f"<nav><ul>{''.join(listed)}</ul></nav>"
    for method, path, operation in operations(document):
        yield from _operation(prefix, method, path, operation, components["responses"])
    for name, schema in components["schemas"].items():
        yield from _schema(prefix, name, schema)


def _operation(
    prefix: str, method: str, path: str, operation: Values, shared: Values
) -> Iterator[str]:
    anchor = _anchor(prefix, operation["operationId"])
    yield f'<h3 id="{anchor}"><b>{escape(method)}</b> {escape(prefix + path)}</h3>'
    role = operation.get("x-role")
    mark = f' <span class="role">{escape(role)}</span>' if role else ""
    yield f"<p>{escape(operation['summary'])}.{mark}</p>"
    if "description" in operation:
        yield f"<p>{escape(operation['description'])}</p>"
    asked = [
        (one["name"], one["in"], _type(prefix, one["schema"]), one.get("description", ""))
        for one in operation.get("parameters", ())
    ]
    if asked:
        yield _table(("parameter", "in", "type", ""), asked, raw=2)
    body = operation.get("requestBody")
    if body:
        yield f"<p>Body: {_content(prefix, body)}</p>"
    answers = []
    for code, told in operation["responses"].items():
        answer = shared[told["$ref"].rpartition("/")[2]] if "$ref" in told else told
        answers.append((code, _content(prefix, answer), answer["description"]))
    yield _table(("status", "answer", ""), answers, raw=1)


def _schema(prefix: str, name: str, schema: Values) -> Iterator[str]:
    yield f'<h3 id="{_anchor(prefix, name)}">{escape(name)}</h3>'
    if "description" in schema:
        yield f"<p>{escape(schema['description'])}</p>"
    if "enum" in schema:
        yield f"<p>{_type(prefix, schema)}</p>"
    required = schema.get("required", ())
    fields = [
        (
            field + ("" if field in required else " (optional)"),
            _type(prefix, one),
            one.get("description", ""),
        )
        for field, one in schema.get("properties", {}).items()
    ]
    if fields:
        yield _table(("field", "type", ""), fields, raw=1)


def _content(prefix: str, of: Values) -> str:
    kinds = of.get("content", {})
    return ", ".join(
        _type(prefix, one["schema"])
        if kind == "application/json" and one.get("schema")
        else f"<code>{escape(kind)}</code>"
        for kind, one in kinds.items()
    )


def _type(prefix: str, schema: Values) -> str:
    """In words, with links."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{_anchor(prefix, name)}">{escape(name)}</a>'
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(_type(prefix, one) for one in schema[several])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in values)
    if schema.get("type") == "array":
        return f"list of {_type(prefix, schema.get('items', {}))}"
    if isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_type(prefix, schema['additionalProperties'])}"
    return escape(str(schema.get("type", "anything")))


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], raw: int) -> str:
    """`raw`: the column that is HTML already."""
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    lines = [
        "<tr>"
        + "".join(f"<td>{cell if at == raw else escape(cell)}</td>" for at, cell in enumerate(row))
        + "</tr>"
        for row in rows
    ]
    return f"<table><tr>{top}</tr>{''.join(lines)}</table>"


def _anchor(prefix: str, name: str) -> str:
    return escape(f"{prefix.strip('/')}-{name}".strip("-"))
