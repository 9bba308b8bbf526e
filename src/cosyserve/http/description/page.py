"""The OpenAPI document as one HTML page: no script, nothing from elsewhere."""

import json
from collections.abc import Iterable
from html import escape
from typing import Any

from cosyserve.http.description import session
from cosyserve.settings.sections import Settings

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882 }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem }
h2 { border-bottom: 1px solid var(--line) } code, .path { font-family: ui-monospace, monospace }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .5rem 0; padding: .4rem .8rem }
summary { cursor: pointer } .method { display: inline-block; min-width: 4.5rem; font-weight: 700 }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0 }
th { border-bottom: 1px solid var(--line) } td:first-child { white-space: nowrap } code { background: var(--soft) }
"""
_HEAD = "<tr><th>field</th><th>values</th><th>meaning</th></tr>"
_NOTHING = "<p>It takes nothing.</p>"


def build_page(document: dict[str, Any], settings: Settings, up: str = "") -> str:
    """HTML, whole. up: what leads from the page's address to the other one's folder."""
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(document, method, path, operation))
    info = document["info"]
    body = "".join(f"<h2>{escape(name)}</h2>{''.join(parts)}" for name, parts in groups.items())
    about = _paragraphs(info["description"])
    body += f"<h2>WebSocket</h2>{_session(settings)}"
    keys = "<p>An API key is needed: <code>Authorization: Bearer KEY</code>.</p>" if _needs_key(document) else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>{about}{keys}"
        f'<p>The same for programs: <a href="{up}openapi.json">openapi.json</a>.</p><main>{body}</main></body></html>'
    )


def _needs_key(document: dict[str, Any]) -> bool:
    return "securitySchemes" in document["components"]


def _operation(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    told = f"<p>{_prose(operation['description'])}</p>" if "description" in operation else ""
    return (
        f'<details id="{escape(operation["operationId"])}"><summary><span class="method">{method.upper()}</span>'
        f'<span class="path">{escape(path)}</span> · {escape(operation["summary"])}</summary>{told}'
        f"{_taken(document, operation)}{_answers(operation)}</details>"
    )


def _taken(document: dict[str, Any], operation: dict[str, Any]) -> str:
    """The parameters and the body's fields."""
    rows = [
        _row(f"{taken['name']} ({taken['in']})", _resolved(document, taken["schema"]), taken["required"])
        for taken in operation.get("parameters", ())
    ]
    contents = operation.get("requestBody", {}).get("content", {})
    kinds = ", ".join(f"<code>{escape(kind)}</code>" for kind in contents)
    for content in list(contents.values())[:1]:
        schema = _resolved(document, content["schema"])
        required = schema.get("required", ())
        fields = schema["properties"].items()
        rows += [_row(name, _resolved(document, field), name in required) for name, field in fields]
    if not rows:
        return _NOTHING
    return f"{f'<p>Body: {kinds}</p>' if kinds else ''}<table>{_HEAD}{''.join(rows)}</table>"


def _session(settings: Settings) -> str:
    about = _paragraphs(f"{session.ABOUT}\n\n{session.limits(settings)}")
    rows = [_row(name, field, required=False) for name, field in session.config_fields().items()]
    config = f"<h3>The fields of session.config</h3><table>{_HEAD}{''.join(rows)}</table>"
    sent = f"<h3>What the client sends</h3>{_messages(session.CLIENTS)}"
    return f"{about}{sent}{config}<h3>What the server sends</h3>{_messages(session.SERVERS)}"


def _messages(messages: Iterable[session.Said]) -> str:
    head = "<tr><th>message</th><th>meaning</th></tr>"
    rows = (
        f"<tr><td>{escape(said.example['type'])}</td><td>{_prose(said.meaning)}<br>"
        f"<code>{escape(json.dumps(said.example, ensure_ascii=False))}</code></td></tr>"
        for said in messages
    )
    return f"<table>{head}{''.join(rows)}</table>"


def _row(name: str, field: dict[str, Any], required: bool) -> str:
    needed = " (required)" if required else ""
    meaning = _prose(field.get("description", ""))
    return f"<tr><td><code>{escape(name)}</code>{needed}</td><td>{escape(_values(field))}</td><td>{meaning}</td></tr>"


def _values(field: dict[str, Any]) -> str:
    """What a field may hold, in words."""
    if "anyOf" in field:
        told = [_values(one) for one in field["anyOf"] if one.get("type") != "null"]
        return " or ".join(told)
    if "enum" in field:
        return ", ".join(map(str, field["enum"]))
    if field.get("format") == "binary":
        return "file"
    kind = str(field.get("type", "object"))
    if "minimum" in field:
        return f"{kind}, {field['minimum']:g} to {field['maximum']}"
    return f"{kind}, up to {field['maxLength']} characters" if "maxLength" in field else kind


def _answers(operation: dict[str, Any]) -> str:
    rows = (
        (status, _prose(answer["description"]), escape(", ".join(answer["content"])))
        for status, answer in operation["responses"].items()
    )
    lines = "".join(f"<tr><td>{status}</td><td>{meaning}</td><td>{body}</td></tr>" for status, meaning, body in rows)
    return f"<table><tr><th>status</th><th>meaning</th><th>body</th></tr>{lines}</table>"


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """What a reference, or each choice of several, stands for; words beside a reference go before the other's."""
    if "$ref" in schema:
        named: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return {**named, **schema}
    if "anyOf" in schema:
        return {**schema, "anyOf": [_resolved(document, one) for one in schema["anyOf"]]}
    return schema


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_prose(part)}</p>" for part in text.split("\n\n"))


def _prose(words: str) -> str:
    """Text with `code` in it."""
    parts = escape(words).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
