"""The page in a real browser: voices that are uploaded, recorded, stored, heard and deleted."""

from pathlib import Path

from tests import sounds
from tests.http.browser import DONE, STATUS_OF, Reader
from tests.serving import Script, Server, wait_for


class TestVoices:
    def test_a_file_once(self, reader: Reader, tmp_path: Path) -> None:
        script, path = Script(tmp_path, chunks=1), tmp_path / "alice.wav"
        path.write_bytes(sounds.prompt(3.0))
        reader.page.check("input[value=file]")
        reader.page.set_input_files("#file", path)
        reader.page.fill("#prompt-text", "what she says")
        reader.speak(script.text)
        reader.await_text("status", DONE)
        (request,) = [event for event in script.events() if event.startswith("request")]
        assert '"mode": "zero_shot"' in request
        assert '"prompt_text": "what she says"' in request
        assert '"prompt_samples": 48000' in request

    def test_stored_used_heard_and_deleted(self, reader: Reader, server: Server, tmp_path: Path) -> None:
        script, path = Script(tmp_path, chunks=1), tmp_path / "bob.wav"
        path.write_bytes(sounds.prompt(2.5))
        reader.page.check("input[value=file]")
        reader.page.set_input_files("#file", path)
        reader.page.fill("#prompt-text", "what he says")
        reader.page.fill("#name", "鲍勃-1")
        reader.page.press("#name", "Enter")
        reader.await_text("status", "The voice 鲍勃-1 is stored.")
        assert server.get("/v1/audio/voices/鲍勃-1/audio").content == path.read_bytes()
        assert reader.page.input_value("#voice") == "鲍勃-1"
        assert reader.text("voice-about") == "Text: what he says"
        reader.speak(script.text)
        reader.await_text("status", DONE)
        assert '"prompt_samples": 40000' in script.events()[1]
        reader.page.click("#listen")
        wait_for(lambda: reader.in_page("document.getElementById('preview').duration") == 2.5, "the preview")
        reader.page.once("dialog", lambda dialog: dialog.accept())
        reader.page.click("#delete")
        reader.await_text("status", "The voice 鲍勃-1 is deleted.")
        assert server.get("/v1/audio/voices/鲍勃-1").status_code == 404
        assert reader.page.input_value("#voice") == "default"

    def test_recorded_used_and_stored(self, reader: Reader, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path, chunks=1)
        reader.page.check("input[value=recording]")
        reader.page.click("#record")
        reader.await_text("record", "Stop recording")
        assert reader.page.get_attribute("#record", "aria-pressed") == "true"
        wait_for(lambda: float(reader.text("recorded").partition(" ")[0] or 0) >= 2, "two seconds of recording")
        reader.page.click("#record")
        reader.await_text("status", "Recorded")
        reader.speak(script.text)
        reader.await_text("status", DONE)
        request = script.events()[1]
        assert '"mode": "cross_lingual"' in request
        reader.page.fill("#name", "recorded")
        reader.page.click("#store")
        reader.await_text("status", "The voice recorded is stored.")
        voice = server.get("/v1/audio/voices/recorded").json()
        assert voice["duration_s"] > 1.9
        assert voice["mime_type"] == "audio/wav"
        server.delete("/v1/audio/voices/recorded")

    def test_refused_ones(self, reader: Reader, tmp_path: Path) -> None:
        reader.expected = (STATUS_OF.format(422),)
        path = tmp_path / "noise.wav"
        path.write_bytes(b"no sound at all")
        reader.page.check("input[value=file]")
        reader.page.set_input_files("#file", path)
        reader.page.fill("#name", "noise")
        reader.page.click("#store")
        reader.await_text("error", "(422, invalid_prompt)")
        reader.page.fill("#name", "../noise")
        path.write_bytes(sounds.prompt())
        reader.page.set_input_files("#file", path)
        reader.page.click("#store")
        reader.await_text("error", "(422, invalid_voice_name)")
