"""The OpenAPI document and its page: true of every route, and whole by themselves."""

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from starlette.routing import Route

from cosyserve.audio.encoders import make_encoder
from cosyserve.audio.formats import AudioFormat
from cosyserve.errors import ListenerError, UnknownVoice
from cosyserve.http.app import build_app
from cosyserve.http.description import session
from cosyserve.http.description.document import build_document
from cosyserve.http.description.operations import MEDIA_TYPES
from cosyserve.http.description.page import build_page
from cosyserve.http.description.schemas import error_classes
from cosyserve.http.middleware import OPEN_PATHS, PUBLIC_PATHS
from cosyserve.http.routes import page as web_page
from cosyserve.http.routes import websocket
from cosyserve.live.messages import ClientMessage, error_message, parse
from cosyserve.live.session import Session, Speak, Tell
from cosyserve.settings.sections import DefaultSettings, LimitSettings, ServerSettings, Settings

SETTINGS = Settings(defaults=DefaultSettings(prompt_wav=None))
ELSEWHERE = {
    "internal_error",
    "forbidden_origin",
    "idle_timeout",
    "malformed_message",
    "too_many_connections",
    "too_many_utterances",
}
"""Errors that no route of the document tells: an abstract one, and those of connections and WebSockets."""
LOCKED = Settings(server=ServerSettings(api_keys=("key",)))


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return build_document(SETTINGS)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_route_is_in_it_and_nothing_else(document: dict[str, Any]) -> None:
    """But the web page, which is for people."""
    routes = {
        (route.path, method)
        for route in build_app(SETTINGS).routes
        if isinstance(route, Route) and route.include_in_schema
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert {(path, method) for path, method, _ in operations(document)} == routes


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    names = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= names


def test_names_are_given_once(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))


def test_formats_are_called_what_their_encoders_call_them() -> None:
    assert {name: make_encoder(name, 24_000, 24_000).media_type for name in AudioFormat} == MEDIA_TYPES


def test_every_error_that_can_be_told_is_told_somewhere(document: dict[str, Any]) -> None:
    told = {
        code
        for _, _, operation in [*operations(document), *operations(build_document(LOCKED))]
        for answer in operation["responses"].values()
        for code in re.findall(r"`(\w+)`: ", answer["description"])
    }
    to_tell = {kind.code for kind in error_classes() if not issubclass(kind, ListenerError)}
    assert to_tell - told <= ELSEWHERE


def test_limits_are_the_configured_ones() -> None:
    document = build_document(Settings(limits=LimitSettings(max_text_chars=99)))
    form = document["paths"]["/synthesize"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["text"]["maxLength"] == 99
    assert document["components"]["schemas"]["SpeechBody"]["properties"]["input"]["maxLength"] == 99


def test_keys_are_asked_for_where_there_are_any(document: dict[str, Any]) -> None:
    assert not any("security" in operation or "401" in operation["responses"] for *_, operation in operations(document))
    for path, _, operation in operations(build_document(LOCKED)):
        assert ("security" in operation) == ("401" in operation["responses"]) == (path not in OPEN_PATHS)


def test_the_page_alone_is_left_out() -> None:
    left_out = [
        route for route in build_app(SETTINGS).routes if isinstance(route, Route) and not route.include_in_schema
    ]
    assert left_out == web_page.routes


def test_names_without_a_key() -> None:
    document = build_document(Settings(server=ServerSettings(api_keys=("key",), public_names=True)))
    unguarded = {(path, method) for path, method, operation in operations(document) if "security" not in operation}
    assert {(path, "GET") for path in PUBLIC_PATHS} == {one for one in unguarded if one[0] not in OPEN_PATHS}


def test_the_examples_of_messages_are_messages() -> None:
    """The client's are taken, and each of them is there."""
    taken = [type(parse(json.dumps(said.example))) for said in session.CLIENTS]
    assert taken == list(get_args(ClientMessage))


def test_the_examples_of_answers_have_their_fields() -> None:
    live = Session(100)
    (speak,) = [action for action in (*live.text("hello"), *live.done()) if isinstance(action, Speak)]
    player = {"format": "pcm", "sample_rate": 24_000, "channels": 1, "seed": 7}
    actions = [*live.started(speak.clause, player), *live.spoken(speak.clause, 1.2), *live.cancel()]
    told = [action.message for action in actions if isinstance(action, Tell)]
    examples = [said.example for said in session.SERVERS]
    assert [list(one) for one in examples] == [list(one) for one in [*told, error_message(UnknownVoice("…"))]]


def test_the_page_describes_the_websocket() -> None:
    assert [route.path for route in websocket.routes] == [session.PATH]
    page = build_page(build_document(SETTINGS), SETTINGS)
    assert session.PATH in page
    for said in (*session.CLIENTS, *session.SERVERS):
        assert f"<td>{said.example['type']}</td>" in page
    for field in ("response_format", "instructions", "seed"):
        assert f"<code>{field}</code>" in page.partition("<h2>WebSocket</h2>")[2]


@pytest.mark.parametrize("settings", [SETTINGS, LOCKED])
def test_the_page_shows_all_and_fetches_nothing(settings: Settings) -> None:
    document = build_document(settings)
    page = build_page(document, settings)
    for path, method, operation in operations(document):
        assert f'>{method}</span><span class="path">{path}</span>' in page
        for parameter in operation.get("parameters", ()):
            assert f"<code>{parameter['name']} ({parameter['in']})</code>" in page
    for name in ("prompt_wav", "response_format", "ref_audio", "audio_sample", "tts_text"):
        assert f"<code>{name}</code>" in page
    assert not re.search(r"<script|<link|<img|src=|https?://|@import|url\(", page)
    assert ("An API key is needed" in page) == (settings is LOCKED)
    for tag in ("details", "summary", "table", "tr", "td", "th", "code", "p", "main", "h2"):
        assert page.count(f"<{tag}>") + page.count(f"<{tag} ") == page.count(f"</{tag}>")
