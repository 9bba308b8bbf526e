"""Voices in a bucket: what two servers do to each other, and what is left of them when the service is away."""

import asyncio
import http.server
import io
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from botocore.exceptions import EndpointConnectionError
from s3fs import S3FileSystem

from cosyserve.check.finding import Finding, State
from cosyserve.errors import TooManyVoices, UnreadableVoice, VoiceExists, VoiceNotFound, VoicesUnreachable
from cosyserve.http.rehearsal import rehearse
from cosyserve.settings.sections import Settings, SettingsError, VoiceSettings
from cosyserve.voices.bucket import HEAD_BYTES, Bucket
from cosyserve.voices.files import BrokenVoiceFile, Voice, packed
from cosyserve.voices.prompts import Decoder
from cosyserve.voices.store import Upload, VoiceStore
from tests import sounds
from tests.s3 import S3

AUDIO = sounds.prompt()
OTHER = sounds.prompt(hertz=550)
VOICE = Voice(
    name="bob", created_at=1, digest="d", media_type="audio/wav", size=len(AUDIO), sample_rate=16_000, duration_s=2
)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with S3(tmp_path_factory.mktemp("s3")) as service:
        yield service


@pytest.fixture
def url(s3: S3, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A bucket of its own for each test, and a prefix in it."""
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    bucket = s3.make_bucket(f"b{abs(hash(request.node.name))}")
    return f"{bucket}/kept"


@pytest.fixture
def elsewhere(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """For another service than that of the other tests: fsspec keeps its connection to one for all buckets."""
    S3FileSystem.clear_instance_cache()
    yield monkeypatch
    S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(url: str, tmp_path: Path) -> Bucket:
    return Bucket(url, tmp_path / "copies")


class Store(Protocol):
    def __call__(self, copies: str = "copies", **settings: Any) -> VoiceStore: ...


@pytest.fixture
def store(url: str, decoder: Decoder, tmp_path: Path) -> Store:
    """Makes servers' stores. copies: a machine's folder."""

    def make(copies: str = "copies", **settings: Any) -> VoiceStore:
        voices = VoiceStore(VoiceSettings(url=url, dir=tmp_path / copies, **settings), decoder)
        voices.load()
        return voices

    return make


Away = Callable[[VoiceStore], AbstractContextManager[None]]


def key_of(url: str) -> str:
    return url.removeprefix("s3://")


class TestTheObjects:
    def test_come_back_as_they_were(self, bucket: Bucket) -> None:
        stamp = bucket.create("bob.voice", VOICE, AUDIO)
        assert bucket.stamps() == {"bob.voice": stamp}
        assert bucket.read_facts(bucket.stamps()) == {"bob.voice": VOICE}
        assert bucket.read_audio("bob.voice", VOICE) == AUDIO

    def test_of_many_at_once_one_gets_the_name(self, url: str, tmp_path: Path) -> None:
        start = threading.Barrier(6)
        bucket = Bucket(url, tmp_path)

        def create(number: int) -> int | None:
            start.wait()
            try:
                bucket.create("bob.voice", VOICE.model_copy(update={"created_at": number}), AUDIO)
            except FileExistsError:
                return None
            return number

        with ThreadPoolExecutor(6) as threads:
            (winner,) = (number for number in threads.map(create, range(6)) if number is not None)
        facts = bucket.read_facts(bucket.stamps())["bob.voice"]
        assert isinstance(facts, Voice)
        assert facts.created_at == winner

    def test_a_try_whose_answer_got_lost_is_our_own(self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
        put = bucket._files._pipe_file

        async def twice(*args: Any, **options: Any) -> Any:
            await put(*args, **options)
            return await put(*args, **options)

        monkeypatch.setattr(bucket._files, "_pipe_file", twice)
        stamp = bucket.create("bob.voice", VOICE, AUDIO)
        assert bucket.stamps() == {"bob.voice": stamp}
        with pytest.raises(FileExistsError):
            bucket.create("bob.voice", VOICE, AUDIO)

    @pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_an_archive_that_somebody_else_made(self, bucket: Bucket, s3: S3, url: str, compression: int) -> None:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", compression) as archive:
            archive.writestr("audio", AUDIO)
            archive.writestr("voice.json", VOICE.model_dump_json())
        s3.put(f"{key_of(url)}/a copy.voice", content.getvalue())
        assert bucket.read_facts(bucket.stamps()) == {"a copy.voice": VOICE}
        assert bucket.read_audio("a copy.voice", VOICE) == AUDIO

    def test_facts_longer_than_what_is_read_at_first(self, bucket: Bucket) -> None:
        talkative = VOICE.model_copy(update={"prompt_text": "很" * HEAD_BYTES})
        bucket.create("bob.voice", talkative, AUDIO)
        assert bucket.read_facts(bucket.stamps()) == {"bob.voice": talkative}

    @pytest.mark.parametrize("content", [b"", b"junk", b"junk" * 20_000], ids=["empty", "short", "long"])
    def test_what_is_no_voice(self, bucket: Bucket, s3: S3, url: str, content: bytes) -> None:
        s3.put(f"{key_of(url)}/junk.voice", content)
        s3.put(f"{key_of(url)}/deeper/bob.voice", packed(VOICE, AUDIO))
        s3.put(f"{key_of(url)}/notes.txt", b"mine")
        stamps = bucket.stamps()
        assert list(stamps) == ["junk.voice"]
        assert isinstance(bucket.read_facts(stamps)["junk.voice"], BrokenVoiceFile)
        with pytest.raises(BrokenVoiceFile):
            bucket.read_audio("junk.voice", VOICE)

    def test_one_that_goes_meanwhile(self, bucket: Bucket) -> None:
        bucket.create("bob.voice", VOICE, AUDIO)
        stamps = bucket.stamps()
        bucket.delete("bob.voice")
        bucket.delete("bob.voice")
        assert bucket.read_facts(stamps) == {}
        assert bucket.stamps() == {}


class TestTrial:
    def test_leaves_nothing(self, bucket: Bucket, s3: S3, url: str) -> None:
        assert bucket.trial() == ""
        assert b"<Key>" not in s3.get(f"{key_of(url).partition('/')[0]}?list-type=2")

    def test_is_what_a_check_tells(self, url: str, tmp_path: Path) -> None:
        (told,) = findings(tmp_path, url)
        assert (told.state, told.text) == (State.OK, f"voices can be stored in {url}")
        (told,) = findings(tmp_path, "s3://nobody-has-this")
        assert told.state is State.WARNING
        assert told.text.startswith("voices cannot be stored in s3://nobody-has-this: ")

    def test_no_such_bucket(self, bucket: Bucket, tmp_path: Path) -> None:
        assert "bucket does not exist" in Bucket("s3://nobody-has-this", tmp_path).trial()

    def test_nobody_there(self, elsewhere: pytest.MonkeyPatch, tmp_path: Path) -> None:
        elsewhere.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        assert "Could not connect" in Bucket("s3://voices", tmp_path).trial()

    def test_no_credentials(self, elsewhere: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            elsewhere.delenv(name)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            elsewhere.setenv(name, str(tmp_path / "none"))
        assert "credentials" in Bucket("s3://voices", tmp_path).trial()

    def test_a_service_that_heeds_no_condition(self, elsewhere: pytest.MonkeyPatch, tmp_path: Path) -> None:
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Heedless) as service:
            serving = threading.Thread(target=service.serve_forever)
            serving.start()
            elsewhere.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{service.server_port}")
            try:
                assert "If-None-Match" in Bucket("s3://voices", tmp_path).trial()
            finally:
                service.shutdown()
                serving.join()

    def test_a_package_that_is_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "s3fs", None)
        (told,) = findings(tmp_path, "s3://voices")
        assert told.stops
        with pytest.raises(SettingsError, match=r"voices\.url = s3://voices needs the package s3fs; pip .*\[s3\]"):
            Bucket("s3://voices", tmp_path)


def findings(folder: Path, url: str) -> list[Finding]:
    settings = {"server": {"port": 0}, "defaults": {"prompt_wav": ""}, "voices": {"url": url, "dir": folder}}
    return rehearse(Settings.model_validate(settings))


class _Heedless(http.server.BaseHTTPRequestHandler):
    """Takes whatever is put, as services do that know nothing of conditional writes."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></ListBucketResult>')

    def do_DELETE(self) -> None:
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


def store_between(one: VoiceStore, two: VoiceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on `one` has stored a voice each time when `two` has looked, and is about to write."""
    create = two._shelf.create

    def later(*args: Any) -> Any:
        one.add(Upload("bob", OTHER))
        return create(*args)

    monkeypatch.setattr(two._shelf, "create", later)


class TestTwoServers:
    def test_see_each_others_voices(self, store: Store) -> None:
        one, two = store("one"), store("two")
        voice = one.add(Upload("Bob", AUDIO, "希望"))
        assert two.find("bob") is None
        asyncio.run(two.look_for("bob"))
        assert two.find("bob") == voice
        with pytest.raises(VoiceExists):
            two.add(Upload("BOB", OTHER))
        assert two.audio("bob") == (voice, AUDIO)
        two.delete("bob")
        one.rescan()
        assert one.listing() == []

    def test_a_voice_that_was_replaced_is_spoken_anew(self, store: Store) -> None:
        one, two = store("one"), store("two")
        one.add(Upload("bob", AUDIO))
        two.rescan()
        old = two.prompt("bob")[1]
        one.delete("bob")
        one.add(Upload("bob", OTHER))
        two.rescan()
        assert two.prompt("bob")[1].digest != old.digest
        assert two.audio("bob")[1] == OTHER

    def test_one_that_is_quicker(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """Between the other's look and its write."""
        one, two = store("one"), store("two")
        store_between(one, two, monkeypatch)
        with pytest.raises(VoiceExists, match="quicker"):
            two.add(Upload("bob", AUDIO))
        assert two.audio("bob")[1] == OTHER

    def test_no_more_than_there_is_room_for(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        one, two = (store(copies, max_count=2) for copies in ("one", "two"))
        one.add(Upload("alice", AUDIO))
        store_between(one, two, monkeypatch)
        with pytest.raises(TooManyVoices, match="there are 2 voices"):
            two.add(Upload("carol", AUDIO))
        names = ["alice", "bob"]
        assert [voice.name for voice in store("three").listing()] == names
        assert [voice.name for voice in two.listing()] == names

    def test_damage(self, store: Store, bucket: Bucket, s3: S3, url: str) -> None:
        one, two = store("one"), store("two")
        one.add(Upload("bob", AUDIO))
        two.rescan()
        (key,) = one._shelf.stamps()
        archive = bytearray(bucket._read(key))
        archive[len(archive) // 2] ^= 0xFF
        bucket.delete(key)
        s3.put(f"{key_of(url)}/{key}", bytes(archive))
        with pytest.raises(UnreadableVoice):
            two.audio("bob")


class TestAway:
    """The service gives no answer."""

    @pytest.fixture
    def away(self) -> Away:
        """For as long as the block lasts, no request gets out of this process."""

        def no_way(**_: Any) -> None:
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1")

        @contextmanager
        def unreachable(voices: VoiceStore) -> Iterator[None]:
            shelf = voices._shelf
            assert isinstance(shelf, Bucket)
            events = shelf._files.s3.meta.events
            events.register("before-send.s3", no_way)
            yield
            events.unregister("before-send.s3", no_way)

        return unreachable

    def test_what_is_known_speaks_and_what_needs_it_is_refused(self, store: Store, away: Away) -> None:
        voices = store(max_cached_bytes=0)
        voices.add(Upload("bob", AUDIO))
        with away(voices):
            assert voices.prompt("bob")[1].sample_rate == 16_000
            asyncio.run(voices.look_for("alloy"))
            with pytest.raises(VoicesUnreachable):
                asyncio.run(voices.look_for("alice"))
            with pytest.raises(VoicesUnreachable):
                voices.add(Upload("alice", AUDIO))
            with pytest.raises(VoicesUnreachable):
                voices.delete("bob")
            assert [voice.name for voice in voices.listing()] == ["bob"]

    def test_it_comes_back(self, store: Store, away: Away) -> None:
        voices = store()
        with away(voices), pytest.raises(VoicesUnreachable):
            voices.add(Upload("bob", AUDIO))
        voices.rescan()
        assert voices.add(Upload("bob", AUDIO)).name == "bob"

    def test_a_server_that_starts_meanwhile_knows_what_was_spoken_here(self, store: Store, away: Away) -> None:
        first = store()
        for name in ("alice", "bob"):
            first.add(Upload(name, AUDIO))
        first.delete("alice")
        first.rescan()
        with away(first):
            second = store(preload=("bob",))
            assert [voice.name for voice in second.listing()] == ["bob"]
            assert second.audio("bob")[1] == AUDIO
            assert second.cached_prompt("bob") is not None
            with pytest.raises(VoicesUnreachable):
                second.delete("bob")
        second.rescan()
        assert second.delete("bob").name == "bob"

    def test_copies_that_cannot_be_made_stop_nothing(self, store: Store, tmp_path: Path) -> None:
        (tmp_path / "in the way").write_text("a file")
        voices = store("in the way")
        voices.add(Upload("bob", AUDIO))
        assert voices.audio("bob")[1] == AUDIO
        with pytest.raises(VoiceNotFound):
            voices.audio("alice")
