"""Instructions that a model is known to follow: told to clients, and offered on the page."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.browser import NewReader
from tests.serving import Script, Server, wait_for


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), {"model": {"engine": "tests.engines:Newer"}}) as server:
        yield server


def test_they_are_told_of_cosyvoice3(newer: Server) -> None:
    told = newer.get("/v1/models").json()["data"][0]
    assert told["id"] == "CosyVoice3"
    assert len(told["instructions"]) == 26
    assert told["instructions"][0] == {"name": "Cantonese", "instruction": "请用广东话表达。"}
    assert newer.model_info()["instructions"] == told["instructions"]


def test_none_are_known_of_others(server: Server) -> None:
    assert server.get("/v1/models").json()["data"][0]["instructions"] == []
    assert server.model_info()["instructions"] == []


def test_the_page_offers_them(newer: Server, new_reader: NewReader, tmp_path: Path) -> None:
    reader = new_reader(newer.url)
    wait_for(lambda: reader.page.locator("#instructions option").count() == 26, "the page to offer them")
    offered = reader.page.evaluate(
        "[...document.getElementById('instruction').list.options].map(({ text, value }) => [text, value])"
    )
    wanted = newer.model_info()["instructions"]
    assert offered == [[one["name"], one["instruction"]] for one in wanted]
    script = Script(tmp_path)
    reader.page.evaluate("document.getElementById('options').open = true")
    reader.speak(script.text, instruction=offered[-1][1])
    script.await_event("end")
    (asked,) = [json.loads(line.removeprefix("request ")) for line in script.events() if "request" in line]
    assert (asked["mode"], asked["instruction"]) == ("instruct2", f"{offered[-1][1]}<|endofprompt|>")
