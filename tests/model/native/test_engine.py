"""The engine `native` as a whole: streams that share every step, against each alone and against one pass."""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cosyserve.protocol import FailureCode, Mode, Prompt, Synthesize
from cosyserve_workers.engine import EngineBroken, LoadError, RequestError
from tests.model import cosyvoice_kit as kit

torch = pytest.importorskip("torch")
from torch import Tensor  # noqa: E402

from cosyserve_workers.native.cuda_graphs import COUNTS  # noqa: E402
from cosyserve_workers.native.engine import NativeEngine  # noqa: E402
from cosyserve_workers.native.flow.flow import Flow, FlowStep  # noqa: E402
from cosyserve_workers.native.lanes import using_threads  # noqa: E402
from cosyserve_workers.native.loading import Machine, create  # noqa: E402
from cosyserve_workers.native.memory_plan import GIB, Room  # noqa: E402
from cosyserve_workers.native.vocoder.stream import Vocoder, VocoderStep  # noqa: E402
from tests.model.conftest import first  # noqa: E402
from tests.model.native.engine_kit import (  # noqa: E402
    LONG,
    Listening,
    MelTap,
    check_empty,
    config,
    difference,
    engine_on,
    nothing_left,  # noqa: F401 - a fixture
    requests,
    say,
)

CPU = torch.device("cpu")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def draws() -> Listening:
    return Listening()


@pytest.fixture(scope="module")
def engine(small_checkpoint: Path, draws: Listening) -> Iterator[NativeEngine]:
    with engine_on(small_checkpoint, draws) as engine:
        yield engine


def test_it_says_what_it_is(engine: NativeEngine) -> None:
    assert (engine.model_type, engine.sample_rate, engine.streams) == ("CosyVoice2", 24_000, 10)
    assert engine.details["precision"] == "fp32"
    assert engine.details["state_budget"] == "0.5 GiB"
    engine.warm_up()
    assert engine.counters == {"graph_captures": 0, "graph_fallbacks": 0, "flow_overflows": 0}
    COUNTS["graph_fallbacks"] += 1
    assert engine.counters["graph_fallbacks"] == 1


@pytest.mark.parametrize("mode", first(Mode))
def test_a_seed_gives_the_same_sound_and_another_one_another(engine: NativeEngine, mode: Mode) -> None:
    first = say(engine, mode=mode, seed=1)
    assert np.isfinite(first).all()
    assert np.abs(first).max() > 0.01
    assert np.array_equal(say(engine, mode=mode, seed=1), first)
    other = say(engine, mode=mode, seed=2)
    assert other.shape != first.shape or not np.array_equal(other, first)


@pytest.mark.parametrize("seconds", first([2.1, 1.0, 1.2, 4.0, 4.36]))
def test_the_stream_is_what_one_pass_gives(
    engine: NativeEngine, draws: Listening, small_checkpoint: Path, seconds: float
) -> None:
    """Per segment: the drawn tokens, solved by the flow and decoded by the vocoder in one piece each."""
    request = kit.request(seed=11, prompt=kit.prompt(180, seconds))
    with MelTap(engine) as tap:
        streamed = kit.whole(engine.stream(request, kit.never))
    tokens = [token for token in draws.drawn[11, 0] if token < 6561]
    assert len(streamed) == len(tokens) * 960
    features = engine._extractor.extract(request.prompt)
    flow, vocoder = Flow.load(small_checkpoint, CPU, torch.float32), Vocoder.load(small_checkpoint, CPU, torch.float32)
    voice = flow.voice_state(features.speech_tokens, features.mel, features.embedding, most_bytes=0)
    (mel,) = flow.advance([FlowStep(flow.open(voice), torch.tensor(tokens), final=True, keep=False)])
    assert difference(tap.mel(11), mel.numpy()) < 1e-4
    noise = int(np.random.SeedSequence((11, 0)).generate_state(1)[0])
    (whole,) = vocoder.advance([VocoderStep(vocoder.open(noise), torch.from_numpy(tap.mel(11)), final=True)])
    assert difference(streamed, whole.numpy()) < 1e-4


@pytest.mark.parametrize("count", first([4, 10]))
def test_many_at_once_are_as_each_alone(engine: NativeEngine, draws: Listening, count: int) -> None:
    jobs = requests()[:count]
    # One of each mode and text; of the others the company alone is wanted.
    alone = {job.seed: kit.whole(engine.stream(job, kit.never)) for job in jobs[::3]}
    tokens = dict(draws.drawn)
    draws.steps = 0
    with ThreadPoolExecutor(10) as pool:
        # Joining at any step: each thread prepares its text and voice in its own time.
        together = list(pool.map(lambda job: kit.whole(engine.stream(job, kit.never)), jobs))
    assert draws.steps < sum(map(len, draws.drawn.values())), "no step was shared"
    for key, drawn in tokens.items():
        assert draws.drawn[key] == drawn, f"other tokens in company: {key}"
    for job, sound in zip(jobs, together, strict=True):
        assert job.seed not in alone or difference(sound, alone[job.seed]) < 1e-4


@pytest.mark.full
def test_streams_on_several_cores_are_as_on_one(small_checkpoint: Path, engine: NativeEngine) -> None:
    jobs = requests()[:5]
    with using_threads(2):
        wide = create(config(small_checkpoint))
    assert wide._driver._networks.renderer.flow.lanes._count == 2
    with MelTap(engine) as wanted:
        for job in jobs:
            kit.whole(engine.stream(job, kit.never))
    with MelTap(wide) as got, ThreadPoolExecutor(5) as pool:
        sounds = list(pool.map(lambda job: kit.whole(wide.stream(job, kit.never)), jobs))
    wide.close()
    assert all(np.isfinite(sound).all() for sound in sounds)
    assert max(difference(got.mel(job.seed), wanted.mel(job.seed)) for job in jobs) < 1e-4


@pytest.mark.full
@pytest.mark.parametrize("blocks", [0, 12])
def test_a_small_budget_changes_nothing_that_is_heard(
    small_checkpoint: Path, engine: NativeEngine, blocks: int
) -> None:
    jobs = requests()[:6]
    with MelTap(engine) as wanted:
        for job in jobs:
            kit.whole(engine.stream(job, kit.never))
    budget = blocks * engine._driver._networks.renderer.flow.pool.page_bytes
    tight = create(config(small_checkpoint, state_budget_gib=(budget + 1) / GIB))
    with MelTap(tight) as got, ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda job: kit.whole(tight.stream(job, kit.never)), jobs))
    tight.close()
    assert max(difference(got.mel(job.seed), wanted.mel(job.seed)) for job in jobs) < 1e-4
    assert wanted.state_bytes > got.state_bytes
    assert got.state_bytes <= budget + SMALL_STATES


SMALL_STATES = 4 * 2**20
"""What the four voices hold whatever the budget: tokens, mel, the convolutions' frames."""


@pytest.mark.parametrize("speed", first([1.7, 0.5]))
def test_speed(engine: NativeEngine, draws: Listening, speed: float) -> None:
    sound = say(engine, seed=5, speed=speed)
    frames = 2 * sum(token < 6561 for token in draws.drawn[5, 0])
    assert abs(len(sound) / 480 - frames / speed) <= 1


@pytest.mark.full
def test_a_long_text_is_spoken_segment_by_segment(engine: NativeEngine, draws: Listening) -> None:
    sound = say(engine, text=LONG * 7, seed=21)
    segments = [key for key in draws.drawn if key[0] == 21]
    assert len(segments) > 3
    tokens = sum(token < 6561 for key in segments for token in draws.drawn[key])
    assert len(sound) == 960 * tokens


@pytest.mark.full
def test_a_sentence_without_end_is_cut(engine: NativeEngine, draws: Listening) -> None:
    assert len(say(engine, text="快乐" * 200, seed=22)) > 0
    assert len([key for key in draws.drawn if key[0] == 22]) > 2


@pytest.mark.parametrize("mode", [Mode.ZERO_SHOT, Mode.CROSS_LINGUAL])
def test_what_was_sent_as_a_system_prompt_is_not_spoken(engine: NativeEngine, mode: Mode) -> None:
    marked = "You are a helpful assistant.<|endofprompt|>"
    said = kit.TRANSCRIPT if mode is Mode.ZERO_SHOT else ""
    plain = say(engine, mode=mode, text=kit.SHORT, prompt_text=said, seed=31)
    sent = say(engine, mode=mode, text=f"{marked}{kit.SHORT}", prompt_text=said and f"{marked}{said}", seed=31)
    assert np.array_equal(sent, plain)


@pytest.mark.parametrize("text", ["光速是299,792,458米每秒，", "打开https://example.com/a?b=c看看，", "现在14：30，"])
def test_no_block_ends_in_a_span(engine: NativeEngine, text: str) -> None:
    """It is read each time as it is read alone."""

    def ids(words: str) -> str:
        segments = engine._writer.segments(kit.request(text=words), [])
        return "".join(f"{token} " for segment in segments for token in segment.text)

    alone = ids(text).split()[:-1]
    assert ids(text * 60).count(" ".join(alone)) == 60


NOTHING = ["！？。，", "😀😀", "\x00\x07", "<|endofprompt|>", "You are a helpful assistant.<|endofprompt|>", "…", "²"]


def test_silence_is_as_long_as_was_asked(engine: NativeEngine) -> None:
    plain, paused = say(engine, text="好。"), say(engine, text="[pause:200ms]好。[pause:1.5s]")
    assert len(paused) == len(plain) + 1.7 * 24_000
    assert np.abs(paused[-36_000:]).max() == 0


@pytest.mark.parametrize("text", NOTHING)
def test_nothing_to_say(engine: NativeEngine, text: str) -> None:
    with pytest.raises(RequestError) as refused:
        say(engine, text=text)
    assert refused.value.code is FailureCode.UNSPEAKABLE_TEXT


@pytest.mark.parametrize("text", first(["好", "a\x00b", "say <|endofprompt|> it [laughter]", "a", "1", "好😀的"], 3))
def test_odd_texts_are_spoken(engine: NativeEngine, text: str) -> None:
    assert np.isfinite(say(engine, text=text)).all()


def test_an_instruction_too_long_for_the_model_is_refused(engine: NativeEngine) -> None:
    with pytest.raises(RequestError, match=r"instruction has \d+ tokens"):
        say(engine, mode=Mode.INSTRUCT2, instruction="快乐的" * 1500)


def test_a_prompt_that_is_none_is_refused(engine: NativeEngine) -> None:
    with pytest.raises(RequestError) as refused:
        say(engine, prompt=Prompt(np.zeros(31 * 16_000, np.float32), 16_000, "long"))
    assert refused.value.code is FailureCode.INVALID_PROMPT


@pytest.mark.full
def test_each_voice_is_heard_whatever_its_transcript(engine: NativeEngine) -> None:
    """Same text and other audio, same audio and other text, interleaved."""
    voices = [kit.prompt(150), kit.prompt(300)]
    texts = [kit.TRANSCRIPT, "今天天气真好。"]
    jobs = [
        kit.request(Mode.ZERO_SHOT, kit.SHORT, prompt=voice, prompt_text=text, seed=1)
        for voice in voices
        for text in texts
    ] * 2
    with ThreadPoolExecutor(8) as pool:
        sounds = list(pool.map(lambda job: kit.whole(engine.stream(job, kit.never)), jobs))
    for index in range(4):
        assert difference(sounds[index], sounds[index + 4]) < 1e-4
        for other in range(index):
            same = sounds[other].shape == sounds[index].shape and difference(sounds[other], sounds[index]) < 1e-2
            assert not same


def test_a_voice_is_heard_once(engine: NativeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def count(owner: Any, name: str) -> None:
        method = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return method(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)

    count(engine._extractor, "extract")
    count(engine._driver._networks.renderer.flow, "voice_state")
    voice = kit.prompt(417, 3.3)
    for text in (kit.SHORT, kit.TEXT):
        say(engine, prompt=voice, text=text)
    assert sorted(calls) == ["extract", "voice_state"]


@pytest.mark.parametrize("mode", [Mode.ZERO_SHOT, Mode.INSTRUCT2])
def test_words_that_requests_begin_with_are_read_once(
    engine: NativeEngine, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    lm = engine._driver._networks._lm
    prefill, rows = lm.prefill, []

    def counted(slots: Sequence[int], inputs: Sequence[Tensor]) -> Tensor:
        rows.append(sum(map(len, inputs)))
        return prefill(slots, inputs)

    monkeypatch.setattr(lm, "prefill", counted)
    words: dict[str, Any] = {"prompt_text": "今天天气很好。", "instruction": "说得慢一点。<|endofprompt|>"}
    first, second = (say(engine, mode=mode, text=kit.SHORT, **words) for _ in range(2))
    assert np.array_equal(first, second)
    assert len(rows) == 2
    assert rows[1] < rows[0] - 2


def test_a_request_is_told_its_share_of_the_turns(engine: NativeEngine) -> None:
    def share(request: Synthesize) -> dict[str, float]:
        audio = engine.stream(request, kit.never)
        while True:
            try:
                next(audio)
            except StopIteration as end:
                return dict(end.value)

    began_at = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        shares = list(pool.map(share, (kit.request(seed=41), kit.request(seed=42))))
    took_s = time.monotonic() - began_at
    for stages in shares:
        assert set(stages) == {"prefill", "decode", "solve"}
        assert min(stages.values()) > 0
    assert sum(sum(stages.values()) for stages in shares) <= took_s


def test_cancelling_takes_effect_at_the_next_step(engine: NativeEngine, draws: Listening) -> None:
    asked = []

    def cancelled() -> bool:
        asked.append(draws.steps)
        return len(asked) > 5

    assert list(engine.stream(kit.request(seed=31), cancelled)) == []
    check_empty(engine)
    assert len(asked) == 6
    assert draws.steps == asked[-1], "a step was made for it after it was cancelled"


def test_a_cancelled_stream_leaves_the_others_alone(engine: NativeEngine, draws: Listening) -> None:
    wanted = say(engine, seed=41)
    count = iter(range(1000))
    with ThreadPoolExecutor(6) as pool:
        stays = pool.submit(lambda: say(engine, seed=41))
        leaves = [
            pool.submit(list, engine.stream(kit.request(seed=50 + step), lambda step=step: next(count) > step))  # type: ignore[misc]
            for step in range(0, 100, 20)
        ]
        assert difference(stays.result(), wanted) < 1e-4
        for left in leaves:
            left.result()


@pytest.mark.full
def test_a_listener_that_closes_early_frees_the_place(engine: NativeEngine) -> None:
    for _ in range(2 * engine.streams):
        sound = engine.stream(kit.request(text=LONG), kit.never)
        next(sound)
        sound.close()  # type: ignore[attr-defined]


def test_what_fails_in_a_step_ends_those_in_it_and_the_engine_goes_on(engine: NativeEngine, draws: Listening) -> None:
    wanted = say(engine, seed=61)
    draws.fails = 666
    try:
        with pytest.raises(ArithmeticError):
            say(engine, seed=666)
        check_empty(engine)
        assert np.array_equal(say(engine, seed=61), wanted)
    finally:
        draws.fails = None


def test_a_lost_device_breaks_the_engine_for_everyone(small_checkpoint: Path) -> None:
    engine = create(config(small_checkpoint, streams=2))
    lost = torch.AcceleratorError("CUDA error: an illegal memory access was encountered", 700)
    networks = engine._driver._networks

    def fail(*_: object) -> None:
        raise lost

    networks.decode = fail  # type: ignore[method-assign, assignment]
    with ThreadPoolExecutor(2) as pool:
        for job in [pool.submit(list, engine.stream(kit.request(seed=seed), kit.never)) for seed in (1, 2)]:
            with pytest.raises(EngineBroken, match="GPU is lost"):
                job.result(60)
    with pytest.raises(EngineBroken):
        say(engine)


def test_precisions_and_folders(small_checkpoint: Path, tmp_path: Path) -> None:
    for wrong, message in (
        (config(tmp_path / "nowhere"), "there is no model folder"),
        (config(tmp_path), "has no cosyvoice2.yaml"),
        (config(small_checkpoint, precision="int4"), "is not known here"),
    ):
        with pytest.raises(LoadError, match=message) as refused:
            create(wrong)
        assert "\n" not in str(refused.value)


@pytest.mark.full
def test_half_precision_speaks_too(small_checkpoint: Path) -> None:
    engine = create(config(small_checkpoint, precision="bf16"))
    engine.warm_up()
    assert np.isfinite(say(engine, text=kit.SHORT)).all()
    engine.close()


@pytest.mark.parametrize("name", ["llm.pt", "flow.pt", "hift.pt", "campplus.onnx", "speech_tokenizer_v2.onnx"])
def test_a_file_that_is_missing_or_cut_short_is_named(small_checkpoint: Path, tmp_path: Path, name: str) -> None:
    for path in small_checkpoint.iterdir():
        if path.name != name:
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(LoadError, match=name):
        create(config(tmp_path))
    (tmp_path / name).write_bytes((small_checkpoint / name).read_bytes()[:1000])
    with pytest.raises(LoadError, match=name) as refused:
        create(config(tmp_path))
    assert "\n" not in str(refused.value)


def test_a_tokenizer_of_another_model_is_refused(small_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosyserve_workers.native.script.ScriptWriter.vocabulary", 10**6)
    with pytest.raises(LoadError, match="both must be of one model"):
        create(config(small_checkpoint))


def test_the_budget_follows_the_machine(small_checkpoint: Path) -> None:
    small = Machine("CPU", Room(CPU, free=3 * GIB, total=8 * GIB))
    engine = create(dataclasses.replace(config(small_checkpoint), state_budget_gib=0.0), small)
    assert engine.details["state_budget"] == "0.4 GiB"
    pool = engine._driver._networks.renderer.flow.pool
    assert pool.reserved_bytes == 0, "what was not asked for is taken as needed"
    engine.close()


def test_a_budget_that_was_asked_for_is_there_from_the_start(small_checkpoint: Path) -> None:
    budget = 2**26
    engine = create(config(small_checkpoint, state_budget_gib=budget / GIB))
    pool = engine._driver._networks.renderer.flow.pool
    assert budget - pool.page_bytes < pool.reserved_bytes <= budget
    kit.whole(engine.stream(requests()[0], kit.never))
    assert pool.reserved_bytes < budget, "the voice's blocks come from it"
    engine.close()
