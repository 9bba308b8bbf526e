"""The page in a real browser: for readers with a keyboard alone, a screen reader or another language."""

from pathlib import Path

import numpy as np
from playwright.sync_api import Browser

from tests.engines import CHUNK_SAMPLES
from tests.http.browser import DONE, FOREIGN_HOST, SPEAKING, STOPPED, NewReader, Reader
from tests.serving import Script, Server, wait_for


class TestReaders:
    def test_by_keyboard_alone(self, reader: Reader, tmp_path: Path) -> None:
        """Every control is reached and shows that it has the focus; text is spoken and stopped without a mouse."""
        reached: list[list[str]] = []
        for _ in range(40):
            reader.page.keyboard.press("Tab")
            focused = reader.in_page(
                "((one) => [one.id || one.name, getComputedStyle(one).outlineStyle])(document.activeElement)"
            )
            if not focused[0] and reached and reached[-1][0] == "meanings-fold":
                break
            reached.append(focused)
        names = [name for name, _ in reached]
        for name in ("language", "text", "source", "voice", "listen", "instruction", "speed", "format", "seed"):
            assert name in names
        assert names[-7:] == ["speak", "stop", "download", "command-fold", "curl", "copy", "meanings-fold"]
        assert {outline for name, outline in reached if name} == {"solid"}
        reader.page.focus("#text")
        reader.page.keyboard.press("Control+a")
        reader.page.keyboard.type(Script(tmp_path, chunks=2, at=1).text)
        reader.page.keyboard.press("Control+Enter")
        reader.await_text("status", SPEAKING)
        reader.page.keyboard.press("Escape")
        reader.await_text("status", STOPPED)

    def test_every_control_has_a_name(self, reader: Reader) -> None:
        for source in ("stored", "file", "recording"):
            reader.page.check(f"input[value={source}]")
            nameless = reader.in_page(
                """[...document.querySelectorAll("input, select, textarea, button, meter, audio, output")]
                .filter((one) => !one.labels?.length && !one.ariaLabel && !one.textContent.trim())
                .map((one) => one.id || one.outerHTML)"""
            )
            assert nameless == []
        assert reader.page.get_attribute("#status", "role") == "status"

    def test_what_the_demo_engine_cannot_do_is_said_where_one_would_try_it(
        self, new_reader: NewReader, tmp_path: Path
    ) -> None:
        with Server(tmp_path, {"model": {"engine": "demo"}}) as demo:
            reader = new_reader(demo.url)
            reader.await_text("engine", "espeak-ng")
            for source in ("stored", "file", "recording"):
                reader.page.check(f"input[value={source}]")
                assert "cannot clone" in reader.text("clone-note")
                assert "engine native" in reader.text("clone-note")
            for control in ("voice", "file", "record"):
                assert "clone-note" in (reader.page.get_attribute(f"#{control}", "aria-describedby") or "").split()
            assert "follows no instruction" in reader.text("instruction-note")
            assert "every seed" in reader.text("seed-note")
            reader.page.check("input[value=stored]")
            reader.speak("Hello.")
            reader.await_text("status", DONE)
            assert reader.figure("audio") > 4_000
            wait_for(lambda: np.abs(reader.heard()).max(initial=0) > 1_000, "speech")

    def test_an_engine_that_can_says_nothing_of_it(self, reader: Reader) -> None:
        for note in ("engine", "clone-note", "instruction-note", "seed-note"):
            assert reader.in_page(f"document.getElementById('{note}').textContent") == ""

    def test_in_chinese_and_back(self, new_reader: NewReader, server: Server) -> None:
        reader = new_reader(server.url, locale="zh-CN")
        reader.await_text("voice-about", "指令")
        assert reader.page.input_value("#text").startswith("欢迎光临")
        assert reader.in_page("document.documentElement.lang") == "zh"
        reader.speak("chunks=1")
        reader.await_text("status", "完成。")
        reader.page.click("#language")
        assert reader.text("status") == DONE
        assert reader.text("speak") == "Speak"
        assert reader.text("language") == "中文"
        assert reader.in_page("document.documentElement.lang") == "en"
        reader.page.reload()
        reader.await_text("voice-about", "Instruction:")
        assert reader.text("speak") == "Speak"

    def test_without_a_trusted_origin_it_speaks_and_says_why_it_cannot_record(
        self, browser: Browser, server: Server
    ) -> None:
        reader = Reader(browser, f"http://{FOREIGN_HOST}:{server.port}")
        assert reader.in_page("isSecureContext") is False
        reader.page.check("input[value=recording]")
        assert reader.page.is_disabled("#record")
        assert "HTTPS or on localhost" in reader.text("record-hint")
        reader.page.check("input[value=stored]")
        reader.speak("chunks=2")
        reader.await_text("status", DONE)
        assert reader.figure("audio") == 2 * CHUNK_SAMPLES
        reader.page.click("#copy")
        reader.await_text("status", "The command is")
        reader.close()
