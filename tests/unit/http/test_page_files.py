"""The page's files: what they are served as, what they may do, and that they are whole."""

import asyncio
import re

import pytest
from starlette.applications import Starlette
from starlette.types import Message

from cosyserve.http.app import build_app
from cosyserve.http.middleware import OPEN_PATHS
from cosyserve.http.page_files import FOLDER, MEDIA_TYPES, PAGE_FILES
from cosyserve.http.routes.page import POLICY
from cosyserve.settings.sections import DefaultSettings, ServerSettings, Settings

LOCKED = Settings(server=ServerSettings(api_keys=("key",)), defaults=DefaultSettings(prompt_wav=None))


def ask(path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body, from a service that has keys, to a stranger."""
    return asyncio.run(answer(build_app(LOCKED), path, method, headers))


async def answer(app: Starlette, path: str, method: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.1"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, b"".join(message.get("body", b"") for message in sent[1:])


def script(name: str) -> str:
    return PAGE_FILES[f"/page/{name}"].content.decode()


INDEX = PAGE_FILES["/"].content.decode()


def test_every_file_of_the_folder_is_served() -> None:
    assert {path.suffix for path in FOLDER.iterdir()} == set(MEDIA_TYPES)
    assert len(PAGE_FILES) == len(list(FOLDER.iterdir()))
    assert set(PAGE_FILES) <= OPEN_PATHS


@pytest.mark.parametrize("path", PAGE_FILES)
def test_a_file_comes_as_what_it_is(path: str) -> None:
    status, headers, body = ask(path)
    assert (status, body) == (200, PAGE_FILES[path].content)
    media_type = PAGE_FILES[path].media_type
    assert headers["content-type"] == media_type + "; charset=utf-8" * media_type.startswith("text/")
    assert headers["content-length"] == str(len(body))
    assert headers["content-security-policy"] == POLICY
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", PAGE_FILES)
def test_head_tells_what_get_does(path: str) -> None:
    (status, headers, _), (_, of_get, _) = ask(path, "HEAD"), ask(path)
    del headers["x-request-id"], of_get["x-request-id"]
    assert (status, headers) == (200, of_get)


@pytest.mark.parametrize("sent", ["{}", "W/{}", '"other", {}', "*"])
def test_what_is_known_is_not_sent_again(sent: str) -> None:
    _, headers, _ = ask("/")
    status, again, body = ask("/", if_none_match=sent.format(headers["etag"]))
    assert (status, body, again["etag"]) == (304, b"", headers["etag"])
    assert again["cache-control"] == "no-cache"


def test_what_is_known_otherwise_is_sent() -> None:
    assert ask("/", if_none_match='"other"')[0] == 200


@pytest.mark.parametrize("path", ["/page/", "/page/nothing.js", "/page/../page_files.py", "/page/index.html"])
def test_nothing_else_is_there(path: str) -> None:
    assert ask(path)[0] in {401, 404}
    assert ask(path, authorization="Bearer key")[0] == 404


def test_it_is_read_not_written() -> None:
    assert ask("/", "POST", authorization="Bearer key")[0] == 405


def test_the_policy_lets_nothing_in_that_the_page_lacks() -> None:
    assert POLICY.startswith("default-src 'self';")
    assert "unsafe" not in POLICY
    assert not re.search(r"https?:|\*|data:", POLICY)
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|https?://", INDEX)
    for path in PAGE_FILES:
        if path.endswith((".js", ".css")):
            assert not re.search(r"https?://|//cdn|@import|\beval\(|innerHTML", PAGE_FILES[path].content.decode()), path


def test_what_a_file_asks_for_is_there() -> None:
    asked = set(re.findall(r'(?:src|href)="(page/[^"]+)"', INDEX))
    for path in PAGE_FILES:
        if path.endswith(".js"):
            names = re.findall(r'(?:from |import |new URL\()"(?:\./)?([\w-]+\.js)"', PAGE_FILES[path].content.decode())
            asked |= {f"page/{name}" for name in names}
    assert {f"/{name}" for name in asked} == set(PAGE_FILES) - {"/"}


def test_ids_are_given_once_and_those_asked_for_are_there() -> None:
    ids = re.findall(r'\bid="([^"]+)"', INDEX)
    assert len(ids) == len(set(ids))
    scripts = "".join(script(name) for name in ("main.js", "voices.js"))
    wanted = re.findall(r'(?:byId|figure|number|#onClick|onSubmit)\("([\w-]+)"', scripts)
    wanted += " ".join(re.findall(r'(?:\bfor|aria-describedby)="([^"]+)"', INDEX)).split()
    assert len(wanted) > 50
    assert set(wanted) <= set(ids)


def test_both_languages_say_everything() -> None:
    english, chinese = (
        dict(re.findall(r'^    (\w+): "(.*)",$', part, flags=re.MULTILINE))
        for part in script("texts.js").partition("  en: {")[2].split("  zh: {")
    )
    assert list(english) == list(chinese)
    for key in english:
        assert set(re.findall(r"\{\w+\}", english[key])) == set(re.findall(r"\{\w+\}", chinese[key])), key
    on_the_page = set(re.findall(r'data-t(?:-\w+)?="(\w+)"', INDEX))
    told = re.findall(r'(?:say\((?:byId\("[\w-]+"\)|\w+), |tell\(|complain\(|\btext\()"(\w+)"', everything_but_words())
    assert len(told) > 20
    assert on_the_page | set(told) <= set(english)
    assert not [key for key in english if f'"{key}"' not in everything_but_words()], "words that nobody says"


def everything_but_words() -> str:
    return "".join(file.content.decode() for path, file in PAGE_FILES.items() if path != "/page/texts.js")
