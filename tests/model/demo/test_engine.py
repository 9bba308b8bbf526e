"""The engine `demo` with the real espeak-ng: what it says, how it streams, that it stops, that nobody hears another."""

import ctypes
import itertools
import logging
import math
import re
import sys
import threading
import tracemalloc
import wave
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ctypes.util import find_library
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cosyserve.protocol import EngineConfig, FailureCode, Mode, Prompt, Synthesize, TextConfig
from cosyserve_workers.demo import make_prompt
from cosyserve_workers.demo.engine import DemoEngine
from cosyserve_workers.demo.espeak import NORMAL_RATE, Espeak
from cosyserve_workers.demo.factory import create
from cosyserve_workers.demo.readings import ENGLISH, MANDARIN, RUSSIAN, SCRIPTS, in_letters, in_words
from cosyserve_workers.demo.stretch import stretch
from cosyserve_workers.engine import EngineBroken, LoadError, RequestError, load_engine

espeakng_loader = pytest.importorskip("espeakng_loader")

CONFIG = EngineConfig(engine="demo", model_dir="")
PROMPT = Prompt(np.zeros(24000, np.float32), 24000, "digest")
CHINESE = "你好，很高兴认识你。今天天气真好！"
ENGLISH_TEXT = "Hello world, this is a test. Does it speak?"
MIXED = "我们用 GPU 加速，推理速度提高了 50%。"
UNPUNCTUATED = "字正腔圆地朗读一篇没有任何标点符号的很长的文章" * 10

Audio = NDArray[np.float32]


def go_on() -> bool:
    return False


class Counter:
    """A `cancelled` that counts how often it is asked and says yes from the `stop`th time on."""

    def __init__(self, stop: float = math.inf) -> None:
        self.stop = stop
        self.asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked >= self.stop


@pytest.fixture(scope="module")
def engine() -> Iterator[DemoEngine]:
    loaded = load_engine(CONFIG)
    assert isinstance(loaded, DemoEngine)
    loaded.warm_up()
    yield loaded
    loaded.close()


def request(text: str, speed: float = 1.0, seed: int = 0) -> Synthesize:
    return Synthesize(1, text, Mode.CROSS_LINGUAL, "", "", PROMPT, speed, seed)


def say(engine: DemoEngine, text: str, speed: float = 1.0, cancelled: Callable[[], bool] = go_on) -> Audio:
    return np.concatenate([np.empty(0, np.float32), *engine.stream(request(text, speed), cancelled)])


def longest_silence_s(audio: Audio) -> float:
    loud = np.flatnonzero(np.abs(audio) > 1e-3)
    return float(np.diff(loud).max()) / 24000


class TestLoading:
    def test_says_what_it_is(self, engine: DemoEngine) -> None:
        assert engine.model_type == "demo"
        assert engine.sample_rate == 24000
        assert engine.streams == 10
        assert engine.details["voice"] == "espeak-ng, not CosyVoice"
        assert re.fullmatch(r"\d+\.\d+.*", engine.details["version"])

    def test_runs_as_many_streams_as_configured(self) -> None:
        assert create(EngineConfig(engine="demo", model_dir="", streams=3)).streams == 3

    def test_warns_whose_voice_it_is(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            create(CONFIG)
        (record,) = caplog.records
        assert record.name == "cosyserve_workers.demo.engine"
        assert "espeak-ng" in record.message
        assert "not of CosyVoice" in record.message

    def test_without_the_package_names_the_remedy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "espeakng_loader", None)
        with pytest.raises(LoadError, match=r"pip install .*\[demo\]'"):
            create(CONFIG)

    @pytest.mark.parametrize("content", [None, b"not a library"])
    def test_a_broken_library_is_a_load_error_in_one_line(
        self, content: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        library = tmp_path / "libespeak-ng.so"
        if content is not None:
            library.write_bytes(content)
        monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: str(library))
        with pytest.raises(LoadError, match=r"pip install .*\[demo\]'") as caught:
            create(CONFIG)
        assert "\n" not in str(caught.value)

    def test_another_library_is_a_load_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        other = find_library("c")
        monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: other)
        with pytest.raises(LoadError, match="demo"):
            create(CONFIG)


class TestSound:
    @pytest.mark.parametrize(
        ("text", "shortest_s", "longest_s"),
        [
            ("你好", 0.3, 0.8),
            (CHINESE, 3.0, 6.0),
            (ENGLISH_TEXT, 2.0, 4.0),
            (MIXED, 3.0, 6.0),
            ("こんにちは、カタカナです。", 1.2, 3.0),
            ("안녕하세요, 반갑습니다.", 1.2, 3.0),
            ("Привет, как дела?", 0.8, 2.5),
            ("123", 0.5, 2.0),
        ],
    )
    def test_is_speech_of_plausible_length_and_level(
        self, engine: DemoEngine, text: str, shortest_s: float, longest_s: float
    ) -> None:
        audio = say(engine, text)
        assert shortest_s < len(audio) / 24000 < longest_s
        assert 0.1 < np.abs(audio).max() <= 1.0
        assert 0.02 < np.sqrt(np.mean(audio**2)) < 0.3
        power = np.abs(np.fft.rfft(audio)) ** 2
        hertz = np.fft.rfftfreq(len(audio), 1 / 24000)
        assert power[(hertz > 80) & (hertz < 4000)].sum() > 0.9 * power.sum()

    def test_numbers_beside_chinese_are_read_in_chinese(self, engine: DemoEngine) -> None:
        np.testing.assert_array_equal(say(engine, "50元"), say(engine, "50元。"))
        # 五十元 has the same three syllables; "fifty" would be a run of its own.
        assert len(say(engine, "50元")) == pytest.approx(len(say(engine, "五十元")), rel=0.25)

    def test_pieces_are_float32_mono_in_range(self, engine: DemoEngine) -> None:
        for samples in engine.stream(request(MIXED), go_on):
            assert samples.dtype == np.float32
            assert samples.ndim == 1
            assert 0 < len(samples) <= 24000
            assert np.abs(samples).max() <= 1.0

    @pytest.mark.parametrize("speed", [0.25, 1.0, 4.0])
    def test_has_no_clicks_at_joins(self, engine: DemoEngine, speed: float) -> None:
        audio = say(engine, MIXED, speed)
        # Within a word the voice moves by up to 0.4 from one sample to the next; from and to silence it must not jump.
        quiet = np.convolve(np.abs(audio) < 2e-3, np.ones(48), mode="valid") == 48
        edges = np.flatnonzero(np.diff(quiet.astype(int))).tolist()
        near = itertools.chain.from_iterable(range(max(0, edge - 48), min(len(audio) - 1, edge + 96)) for edge in edges)
        at_edges = np.fromiter(near, int)
        assert len(at_edges) > 0
        assert np.abs(np.diff(audio))[at_edges].max() < 0.12

    def test_a_change_of_voice_makes_no_long_pause(self, engine: DemoEngine) -> None:
        assert longest_silence_s(say(engine, "我们用 GPU 加速")) < 0.15

    def test_long_runs_are_joined_without_long_pauses(self, engine: DemoEngine) -> None:
        assert longest_silence_s(say(engine, UNPUNCTUATED)) < 0.15

    def test_a_sentence_end_makes_a_pause(self, engine: DemoEngine) -> None:
        assert 0.35 < longest_silence_s(say(engine, "你好。世界")) < 0.6

    @pytest.mark.parametrize("plain", ["你好世界", "Hello world"])
    def test_inline_tokens_are_not_read(self, engine: DemoEngine, plain: str) -> None:
        np.testing.assert_array_equal(
            say(engine, f"Be kind.<|endofprompt|><|en|>{plain}[laughter]"), say(engine, plain)
        )

    def test_markup_is_not_interpreted(self, engine: DemoEngine) -> None:
        slow = '<prosody rate="x-slow">hello</prosody>'
        np.testing.assert_array_equal(say(engine, slow), say(engine, "hello"))

    def test_the_seed_does_not_matter(self, engine: DemoEngine) -> None:
        first, second = (
            np.concatenate(list(engine.stream(request("你好", seed=seed), go_on))) for seed in (0, 2**31 - 1)
        )
        np.testing.assert_array_equal(first, second)

    def test_resampling_loses_no_samples(self, engine: DemoEngine) -> None:
        spoken = sum(len(block) for block in engine._speech(request(CHINESE), lambda: None))
        assert len(say(engine, CHINESE)) == pytest.approx(spoken * 24000 / 22050, abs=1)

    def test_nothing_is_printed(self, engine: DemoEngine, capfd: pytest.CaptureFixture[str]) -> None:
        for text in (CHINESE, ENGLISH_TEXT, MIXED, "Всё!", "\0\ud800 a 😀"):
            say(engine, text)
        assert capfd.readouterr() == ("", "")


class TestTexts:
    @pytest.mark.parametrize(
        "text", ["", " ", "...", "？！", "😀", "\0", "\ud800", "<|en|>", "[laughter]", "hi<|endofprompt|>", "สวัสดี"]
    )
    def test_unspeakable_text_is_refused_before_any_audio(self, engine: DemoEngine, text: str) -> None:
        audio = engine.stream(request(text), go_on)
        with pytest.raises(RequestError) as caught:
            next(audio)
        assert caught.value.code is FailureCode.UNSPEAKABLE_TEXT

    @pytest.mark.parametrize("odd", ["\0", "\ud800", "\x1b[31m", "😀", "\u202e", "\ufffe", "[[", "<", "&#0;"])
    def test_odd_characters_do_no_harm(self, engine: DemoEngine, odd: str) -> None:
        assert len(say(engine, f"你好{odd}world{odd}")) > 12000

    def test_every_character_let_through_has_a_reading(self, espeak: Espeak) -> None:
        """espeak-ng goes over to English, and leaks, where a voice has none: see readings.py."""
        with espeak._loaded() as library:
            library.espeak_TextToPhonemes.restype = ctypes.c_char_p
            for voice, ranges in SCRIPTS.items():
                assert library.espeak_SetVoiceByName(voice.encode()) == 0
                unread = [char for char in _characters(ranges) if not _is_read(library, char, voice)]
                assert unread == [], voice


class TestWords:
    @pytest.mark.parametrize(
        ("written", "spoken"),
        [
            ("It costs $5.", "It costs five dollars."),
            ("我有2个苹果。", "我有两个苹果。"),
            ("Read **this** now.", "Read this now."),
            ("Red\nBlue", "Red. Blue."),
        ],
    )
    def test_what_is_written_sounds_like_its_words(self, engine: DemoEngine, written: str, spoken: str) -> None:
        np.testing.assert_array_equal(say(engine, written), say(engine, spoken))

    def test_a_bare_number_is_in_the_requests_language(self, engine: DemoEngine) -> None:
        english, chinese = (
            np.concatenate(list(engine.stream(replace(request("42"), language=language), go_on)))
            for language in ("en", "zh")
        )
        np.testing.assert_array_equal(english, say(engine, "forty two"))
        np.testing.assert_array_equal(chinese, say(engine, "四十二"))

    def test_a_pause_is_as_long_as_was_asked_at_any_pace(self, engine: DemoEngine) -> None:
        for speed in (1.0, 2.0):
            parts = sum(len(say(engine, part, speed)) for part in ("Hello", "there"))
            assert len(say(engine, "Hello [pause:1.5s] there", speed)) > parts + 1.4 * 24000

    def test_words_of_ones_own(self, engine: DemoEngine) -> None:
        own = replace(request("nginx is up"), pronunciations=(("nginx", "engine x"),))
        np.testing.assert_array_equal(np.concatenate(list(engine.stream(own, go_on))), say(engine, "engine x is up"))

    def test_what_is_not_taken_is_refused_in_words(self, engine: DemoEngine) -> None:
        with pytest.raises(RequestError, match="audio"):
            say(engine, "<speak>a <audio src='x'/> b</speak>")

    @pytest.mark.parametrize("normaliser", ["none", "wetext"])
    def test_another_reading_is_left_to_espeak(self, engine: DemoEngine, normaliser: str) -> None:
        other = load_engine(replace(CONFIG, text=TextConfig(normaliser)))
        assert isinstance(other, DemoEngine)
        assert longest_silence_s(say(other, "one [pause:2s] two")) < 1
        other.close()


def _characters(ranges: str) -> list[str]:
    script = re.compile(f"[{ranges}]")
    return [char for char in map(chr, range(0x20, 0xD800)) if script.match(char)]


def _is_read(library: ctypes.CDLL, char: str, voice: str) -> bool:
    text = in_words(char, voice)
    if not text or in_letters(text, voice) != text:
        return True
    encoded = ctypes.create_string_buffer(text.encode())
    rest = ctypes.c_void_p(ctypes.addressof(encoded))
    phonemes = b""
    while rest.value is not None:
        phonemes += library.espeak_TextToPhonemes(ctypes.byref(rest), 1, 0)
    # "(en)" is a change of language, "@:" at the start an unknown character, spelled by its code.
    return b"(" not in phonemes and not (voice == MANDARIN and phonemes.startswith(b"@:"))


class TestStreaming:
    @pytest.mark.parametrize("text", [CHINESE * 10, UNPUNCTUATED, "word " * 200, "x" * 800])
    @pytest.mark.parametrize("speed", [0.25, 1.0, 4.0])
    def test_the_first_piece_comes_before_the_last_is_synthesised(
        self, engine: DemoEngine, text: str, speed: float
    ) -> None:
        steps = Counter()
        audio = engine.stream(request(text, speed), steps)
        next(audio)
        before_first = steps.asked
        for _ in audio:
            pass
        assert before_first < steps.asked / 4

    def test_five_thousand_characters_stream_in_bounded_memory(self, engine: DemoEngine) -> None:
        text = ("字正腔圆地朗读一篇没有任何标点符号的很长的文章" * 250)[:5000]
        steps = Counter()
        tracemalloc.start()
        try:
            audio = engine.stream(request(text), steps)
            samples = len(next(audio))
            before_first = steps.asked
            samples += sum(map(len, audio))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert before_first < steps.asked / 50
        assert samples > 600 * 24000
        # A minute of it would be 5.8 MB.
        assert peak < 16e6

    def test_an_idle_stream_holds_up_no_other(self, engine: DemoEngine) -> None:
        idle = engine.stream(request(UNPUNCTUATED), go_on)
        next(idle)
        assert len(say(engine, CHINESE)) > 24000
        assert len(next(idle)) > 0

    def test_abandoned_streams_leave_nothing_behind(self, engine: DemoEngine) -> None:
        threads = _native_threads()
        for _ in range(5):
            audio = engine.stream(request(UNPUNCTUATED), go_on)
            next(audio)
            audio.close()  # type: ignore[attr-defined]
            del audio
        # One of a test before may have ended meanwhile.
        assert not _native_threads() - threads
        assert len(say(engine, "你好")) > 0


def _native_threads() -> set[str]:
    return {thread.name for thread in Path("/proc/self/task").iterdir()}


class TestSpeed:
    @pytest.mark.parametrize("text", [CHINESE, ENGLISH_TEXT, MIXED, "Всё хорошо.", "GPU", "你好"])
    def test_durations_are_in_proportion(self, engine: DemoEngine, text: str) -> None:
        normal = len(say(engine, text))
        for speed in (0.25, 0.3, 0.45, 0.5, 0.8, 1.25, 2.0, 2.5, 3.0, 4.0):
            assert normal / len(say(engine, text, speed)) == pytest.approx(speed, rel=0.01), speed

    @pytest.mark.parametrize("speed", [0.25, 4.0])
    def test_the_level_stays(self, engine: DemoEngine, speed: float) -> None:
        normal, other = (np.sqrt(np.mean(say(engine, CHINESE, rate) ** 2)) for rate in (1.0, speed))
        assert other == pytest.approx(normal, rel=0.3)

    @pytest.mark.parametrize("length", [1, 100, 5000, 22050, 22051, 50000])
    def test_stretching_gives_the_length_asked_for(self, length: int) -> None:
        tone = np.sin(2 * np.pi * 200 * np.arange(22050) / 22050).astype(np.float32)
        assert sum(map(len, stretch(tone, length))) == length

    @pytest.mark.parametrize("factor", [0.5, 0.8, 1.3, 2.0])
    def test_stretching_keeps_pitch_and_level(self, factor: float) -> None:
        tone = np.sin(2 * np.pi * 200 * np.arange(22050) / 22050).astype(np.float32)
        stretched = np.concatenate(list(stretch(tone, round(22050 * factor))))
        spectrum = np.abs(np.fft.rfft(stretched * np.hanning(len(stretched))))
        assert np.argmax(spectrum) * 22050 / len(stretched) == pytest.approx(200, abs=2)
        middle = stretched[2048:-2048]
        assert np.sqrt(np.mean(middle**2)) == pytest.approx(np.sqrt(0.5), rel=0.02)

    def test_stretching_by_nothing_changes_nothing(self) -> None:
        noise = np.random.default_rng(0).normal(size=10000).astype(np.float32)
        np.testing.assert_allclose(np.concatenate(list(stretch(noise, 10000))), noise, atol=1e-5)


class TestCancelling:
    def test_stops_before_the_first_piece(self, engine: DemoEngine) -> None:
        steps = Counter(stop=1)
        assert len(say(engine, UNPUNCTUATED, cancelled=steps)) == 0
        assert steps.asked == 1

    def test_stops_inside_a_piece(self, engine: DemoEngine) -> None:
        whole = Counter()
        say(engine, UNPUNCTUATED[:40], cancelled=whole)
        steps = Counter(stop=5)
        assert len(say(engine, UNPUNCTUATED[:40], cancelled=steps)) == 0
        assert steps.asked == 5 < whole.asked / 4

    @pytest.mark.parametrize("speed", [0.25, 1.0, 3.0])
    def test_stops_wherever_it_is_told(self, engine: DemoEngine, speed: float) -> None:
        text = "你好。Hi!"
        whole = Counter()
        length = len(say(engine, text, speed, whole))
        for stop in range(1, whole.asked + 1):
            steps = Counter(stop)
            assert len(say(engine, text, speed, steps)) < length
            assert steps.asked == stop

    def test_an_aborted_stream_changes_nothing_for_the_next(self, engine: DemoEngine) -> None:
        before = say(engine, "Привет, как дела?")
        for stop in (2, 5, 9):
            say(engine, UNPUNCTUATED, cancelled=Counter(stop))
        np.testing.assert_array_equal(say(engine, "Привет, как дела?"), before)

    def test_an_error_in_the_question_is_passed_on(self, engine: DemoEngine) -> None:
        steps = Counter()

        def fail() -> bool:
            if steps() or steps.asked == 4:
                raise ConnectionResetError
            return False

        with pytest.raises(ConnectionResetError):
            say(engine, UNPUNCTUATED, cancelled=fail)
        assert len(say(engine, "你好")) > 0

    def test_stops_while_another_holds_the_synthesiser(self, engine: DemoEngine) -> None:
        inside, leave = threading.Event(), threading.Event()

        def hold() -> bool:
            inside.set()
            return leave.wait(60)

        with ThreadPoolExecutor(1) as pool:
            holder = pool.submit(say, engine, "你好", 1.0, hold)
            assert inside.wait(60)
            waiting = Counter(stop=3)
            assert len(say(engine, "你好", cancelled=waiting)) == 0
            assert waiting.asked == 3
            assert not holder.done()
            leave.set()
            assert len(holder.result(60)) == 0


class TestConcurrency:
    def test_ten_at_once_sound_like_each_alone(self, engine: DemoEngine) -> None:
        texts = [CHINESE, ENGLISH_TEXT, MIXED, "Привет, как дела? Всё хорошо!", "こんにちは、カタカナです。"]
        jobs = [(text, speed) for text in texts for speed in (1.0, 0.3)] * 2
        alone = [say(engine, text, speed) for text, speed in jobs]
        start = threading.Barrier(10)

        def together(text: str, speed: float) -> list[Audio]:
            start.wait(60)
            return [say(engine, text, speed) for _ in range(3)]

        with ThreadPoolExecutor(10) as pool:
            for first in (0, 10):
                tasks = [pool.submit(together, *job) for job in jobs[first : first + 10]]
                for task, expected in zip(tasks, alone[first : first + 10], strict=True):
                    for audio in task.result(100):
                        np.testing.assert_array_equal(audio, expected)

    def test_streams_advance_side_by_side(self, engine: DemoEngine) -> None:
        alone = say(engine, CHINESE)
        streams = [engine.stream(request(CHINESE), go_on) for _ in range(10)]
        rounds = list(itertools.zip_longest(*streams))
        for samples in zip(*rounds, strict=True):
            np.testing.assert_array_equal(np.concatenate(samples), alone)

    def test_two_engines_share_the_library(self, engine: DemoEngine) -> None:
        np.testing.assert_array_equal(say(engine, MIXED), say(create_demo(), MIXED))


def create_demo() -> DemoEngine:
    engine = create(CONFIG)
    assert isinstance(engine, DemoEngine)
    return engine


@pytest.fixture(scope="module")
def espeak() -> Espeak:
    return Espeak(espeakng_loader.get_library_path(), espeakng_loader.get_data_path())


class TestEspeak:
    @pytest.mark.parametrize(("text", "voice"), [("Привет, как дела?", RUSSIAN), ("Button, bottle.", ENGLISH)])
    def test_does_not_remember_what_it_said(self, espeak: Espeak, text: str, voice: str) -> None:
        first = espeak.speak(text, voice, NORMAL_RATE, lambda: None)
        espeak.speak("别的话。", MANDARIN, 300, lambda: None)
        np.testing.assert_array_equal(espeak.speak(text, voice, NORMAL_RATE, lambda: None), first)

    def test_a_missing_voice_breaks_the_engine(self, espeak: Espeak) -> None:
        with pytest.raises(EngineBroken, match="no/such"):
            espeak.speak("a", "no/such", NORMAL_RATE, lambda: None)

    def test_missing_data_break_the_engine(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.delenv("ESPEAK_DATA_PATH", raising=False)
        with pytest.raises(EngineBroken, match=re.escape(str(tmp_path))):
            Espeak(espeakng_loader.get_library_path(), str(tmp_path))


class TestDefaultPrompt:
    SHIPPED = Path(__file__).parents[3] / "asset" / "zero_shot_prompt.wav"

    def test_is_made_the_same_each_time(self, tmp_path: Path) -> None:
        first, second = tmp_path / "first.wav", tmp_path / "second.wav"
        make_prompt.make_prompt(first)
        make_prompt.make_prompt(second)
        assert first.read_bytes() == second.read_bytes()

    def test_the_shipped_one_is_what_the_command_makes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = tmp_path / "made.wav"
        monkeypatch.setattr(sys, "argv", ["make_prompt", str(made)])
        make_prompt.main()
        with wave.open(str(self.SHIPPED), "rb") as shipped, wave.open(str(made), "rb") as fresh:
            assert shipped.getparams() == fresh.getparams()
            assert (shipped.getframerate(), shipped.getnchannels(), shipped.getsampwidth()) == (24000, 1, 2)
            assert 4 <= shipped.getnframes() / 24000 <= 8
            audio, again = (
                np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(int) for file in (shipped, fresh)
            )
        # The resampler's floating point may round differently on another processor.
        assert np.abs(audio - again).max() <= 2
        assert 3000 < np.abs(audio).max() < 32767
