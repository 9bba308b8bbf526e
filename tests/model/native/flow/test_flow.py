"""The native flow against one pass of the library with `streaming=True`, on the same random weights."""

import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest

pytest.importorskip("torch")
import torch
from torch import Tensor

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.flow import first_step
from cosyserve_workers.native.flow.flow import Flow, FlowStep
from cosyserve_workers.native.flow.state import FlowStream
from cosyserve_workers.native.lanes import Lanes, using_threads
from tests.model.conftest import every, first
from tests.model.native.flow.cases import Case, kept_of, make_case, speak, tensors_of

TOLERANCE = 1e-4
CPU = torch.device("cpu")


class Library(Protocol):
    def inference(self, **arguments: Tensor | bool) -> tuple[Tensor, None]: ...


class Pair(NamedTuple):
    """Our flow and the library's, of the same checkpoint."""

    flow: Flow
    library: Library

    def one_pass(self, case: Case) -> Tensor:
        """The whole utterance at once, [80, frames]."""

        def length(tensor: Tensor) -> Tensor:
            return torch.tensor([len(tensor)])

        mel, _ = self.library.inference(
            token=case.tokens[None],
            token_len=length(case.tokens),
            prompt_token=case.prompt[None],
            prompt_token_len=length(case.prompt),
            prompt_feat=case.mel[None],
            prompt_feat_len=length(case.mel),
            embedding=case.speaker[None],
            streaming=True,
            finalize=True,
        )
        return mel[0]

    def open(self, case: Case) -> FlowStream:
        return self.flow.open(self.flow.voice_state(case.prompt, case.mel, case.speaker))


def make_pair(folder: Path) -> Pair:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from hyperpyyaml import load_hyperpyyaml  # type: ignore[import-untyped]

        yaml = (folder / "cosyvoice2.yaml").read_text("utf-8")
        scalars, flow = yaml[: yaml.index("llm: ")], yaml[yaml.index("flow: ") : yaml.index("hift: ")]
        library = load_hyperpyyaml(scalars + flow)["flow"].eval()
    library.load_state_dict(torch.load(folder / "flow.pt", weights_only=True))
    return Pair(Flow.load(folder, CPU, torch.float32), library)


@pytest.fixture(scope="module")
def pair(small_checkpoint: Path, library_path: Path) -> Pair:
    return make_pair(small_checkpoint)


@pytest.fixture(scope="module")
def full_pair(full_checkpoint: Path, library_path: Path) -> Pair:
    return make_pair(full_checkpoint)


def assert_same(mel: Tensor, expected: Tensor) -> None:
    assert mel.shape == expected.shape
    difference = ((mel - expected).abs().max() / expected.abs().max()).item()
    assert difference <= TOLERANCE, f"relative difference {difference:.1e}"


class CountedLanes(Lanes):
    """runs: how often work was dealt out."""

    runs = 0

    def run(self, work: Callable[[Sequence[Any]], list[Any]], items: Sequence[Any]) -> list[Any]:
        self.runs += 1
        return super().run(work, items)


# Chunks


@pytest.mark.parametrize("prompt", [0, 10, 26, *every(range(60, 85), 8), 128])
def test_tokens_one_by_one_give_the_mel_of_one_pass(pair: Pair, prompt: int) -> None:
    case = make_case(prompt, 59)
    mel = speak(pair.flow, pair.open(case), case.tokens, range(1, 59))
    assert_same(mel, pair.one_pass(case))


@pytest.mark.parametrize("prompt", first([0, 61, 99, 3, 50, 77], 2))
def test_growing_chunks_give_the_mel_of_one_pass(pair: Pair, prompt: int) -> None:
    case = make_case(prompt, 190)
    mel = speak(pair.flow, pair.open(case), case.tokens, [28, 78, 178])
    assert_same(mel, pair.one_pass(case))


@pytest.mark.parametrize("threads", first([2, 1]))
def test_guidance_rows_side_by_side_give_the_mel_of_one_pass(small_checkpoint: Path, pair: Pair, threads: int) -> None:
    lanes = CountedLanes(2)
    flow = Flow.load(small_checkpoint, CPU, torch.float32, lanes)
    cases = [make_case(prompt, 60) for prompt in (30, 61)]
    with using_threads(threads):
        alone = speak(flow, pair._replace(flow=flow).open(cases[0]), cases[0].tokens, [28])
        streams = [pair._replace(flow=flow).open(case) for case in cases]
        together = [
            flow.advance(
                [FlowStep(stream, case.tokens, final=True) for stream, case in zip(streams, cases, strict=True)]
            )
        ][0]
    assert_same(alone, pair.one_pass(cases[0]))
    for mel, case in zip(together, cases, strict=True):
        assert_same(mel, pair.one_pass(case))
    # Three solves of a voice and one of a chunk, in nine steps each; what ends within a chunk has ten.
    assert lanes.runs == (4 * 9 + 2 * 10 if threads == 2 else 0)


@pytest.mark.parametrize("most", first([3, 0, 99], 2))
def test_what_is_solved_once_for_all_has_an_end(
    small_checkpoint: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(first_step, "MOST_CHUNKS", most)
    flow = Flow.load(small_checkpoint, CPU, torch.float32)
    case = make_case(61, 110)
    mel = speak(flow, pair._replace(flow=flow).open(case), case.tokens, [30, 100])
    assert_same(mel, pair.one_pass(case))
    assert flow._solver._first is not None
    assert len(flow._solver._first._solved) == min(most, (61 + 110) // 25)


@pytest.mark.parametrize("tail", every(range(25), 8))
def test_a_tail_of_any_length_is_solved_like_the_rest(pair: Pair, tail: int) -> None:
    case = make_case(40, 35 + tail)
    mel = speak(pair.flow, pair.open(case), case.tokens, [20])
    assert_same(mel, pair.one_pass(case))


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_a_few_tokens_in_all(pair: Pair, count: int) -> None:
    case = make_case(30, count)
    assert_same(speak(pair.flow, pair.open(case), case.tokens, []), pair.one_pass(case))


def test_the_last_call_may_bring_no_token(pair: Pair) -> None:
    case = make_case(60, 40)
    assert_same(speak(pair.flow, pair.open(case), case.tokens, [40]), pair.one_pass(case))


def test_a_stream_may_end_without_a_token(pair: Pair) -> None:
    case = make_case(60, 0)
    stream = pair.open(case)
    assert pair.flow.advance([FlowStep(stream, case.tokens, final=True)])[0].shape == (80, 0)
    assert stream.finished


@pytest.mark.parametrize("frames", [100, 131, 170])
def test_a_prompt_s_mel_may_be_shorter_or_longer_than_its_tokens(pair: Pair, frames: int) -> None:
    case = make_case(65, 60)
    case = case._replace(mel=torch.randn((frames, 80), generator=torch.Generator().manual_seed(1)) - 5)
    assert_same(speak(pair.flow, pair.open(case), case.tokens, range(5, 60, 5)), pair.one_pass(case))


# When frames come


@pytest.mark.parametrize("prompt", [0, 20, 27, 60, 73, 74, 75, 76, 78])
def test_tokens_needed_are_enough_and_one_fewer_is_not(pair: Pair, prompt: int) -> None:
    case = make_case(prompt, 90)
    stream = pair.open(case)
    first = -prompt % 25 or 25
    assert stream.tokens_needed() == first + 3
    given = 0
    for frames in (2 * first, 50, 50):
        needed = stream.tokens_needed()
        tokens = case.tokens[given : given + needed]
        assert pair.flow.advance([FlowStep(stream, tokens[:-1])])[0].shape == (80, 0)
        assert (stream.tokens_needed(), stream.frames_ready) == (1, 0)
        assert pair.flow.advance([FlowStep(stream, tokens[-1:])])[0].shape == (80, frames)
        given += needed


def test_a_short_first_chunk_can_wait_for_the_next(pair: Pair) -> None:
    stream = pair.open(make_case(70, 0))
    assert stream.tokens_needed() == 5 + 3
    assert stream.tokens_needed(at_least=5) == 5 + 3
    assert stream.tokens_needed(at_least=10) == 30 + 3


def test_frames_ready_are_the_frames_given_out(pair: Pair) -> None:
    case = make_case(70, 40)
    stream = pair.open(case)
    stream.tokens = torch.cat([stream.tokens, case.tokens])
    ready = stream.frames_ready
    assert ready == 60
    assert pair.flow.advance([FlowStep(stream, case.tokens[:0])])[0].shape == (80, ready)


# One voice, many streams


def test_a_voice_s_state_is_shared_and_stays_as_it_was(pair: Pair) -> None:
    case = make_case(84, 70)
    other = case._replace(tokens=make_case(84, 70, seed=1).tokens)
    voice = pair.flow.voice_state(case.prompt, case.mel, case.speaker)
    before = [tensor.clone() for tensor in kept_of(voice)]
    streams = pair.flow.open(voice), pair.flow.open(voice)
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    for end in range(10, 71, 10):
        for mels, stream, tokens in zip(parts, streams, (case.tokens, other.tokens), strict=True):
            mels.extend(pair.flow.advance([FlowStep(stream, tokens[end - 10 : end], final=end == 70)]))
    assert_same(torch.cat(parts[0], dim=1), pair.one_pass(case))
    assert_same(torch.cat(parts[1], dim=1), pair.one_pass(other))
    assert all(torch.equal(now, was) for now, was in zip(kept_of(voice), before, strict=True))


@pytest.mark.parametrize(
    ("prompt", "chunks"), [(0, 0), (27, 0), (28, 1), (52, 1), (53, 2), (100, 3), (102, 3), (103, 4)]
)
def test_a_voice_is_solved_as_far_as_no_text_reaches(pair: Pair, prompt: int, chunks: int) -> None:
    case = make_case(prompt, 0)
    assert len(pair.flow.voice_state(case.prompt, case.mel, case.speaker).pages) == chunks


def join_and_leave(
    pair: Pair, seed: int, count: int, *, longest: int, latest: int, most: int
) -> list[tuple[Case, Tensor]]:
    """So many streams that join by chance, and the mel of each.

    longest: tokens that one says, latest: ticks after which it joins, most: tokens that it is given at once; all less.
    """
    chance = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=chance))

    cases = [make_case(draw(0, 110), draw(1, longest), seed=index) for index in range(count)]
    joins = [draw(0, latest) for _ in cases]
    streams = [pair.open(case) for case in cases]
    given = [0] * len(cases)
    mels: list[list[Tensor]] = [[] for _ in cases]
    for tick in range(100):
        steps, who = [], []
        for index, (case, stream) in enumerate(zip(cases, streams, strict=True)):
            if joins[index] > tick or stream.finished:
                continue
            start, given[index] = given[index], min(given[index] + draw(0, most), len(case.tokens))
            final = given[index] == len(case.tokens)
            steps.append(FlowStep(stream, case.tokens[start : given[index]], final, keep=draw(0, 4) > 0))
            who.append(index)
        for index, mel in zip(who, pair.flow.advance(steps), strict=True):
            mels[index].append(mel)
    assert all(stream.finished for stream in streams)
    return [(case, torch.cat(parts, dim=1)) for case, parts in zip(cases, mels, strict=True)]


@pytest.mark.full
def test_streams_that_join_and_leave_give_what_each_gives_alone(pair: Pair) -> None:
    for case, mel in join_and_leave(pair, 7, 10, longest=150, latest=12, most=40):
        assert_same(mel, pair.one_pass(case))
        alone = speak(pair.flow, pair.open(case), case.tokens, range(25, len(case.tokens), 25))
        assert_same(mel, alone)


def test_the_same_calls_give_the_same_bits(pair: Pair) -> None:
    case = make_case(66, 80)
    first, second = (speak(pair.flow, pair.open(case), case.tokens, [30, 60]) for _ in range(2))
    assert torch.equal(first, second)


def test_no_random_state_is_touched(pair: Pair) -> None:
    state = torch.get_rng_state()
    speak(pair.flow, pair.open(make_case(30, 30)), make_case(30, 30).tokens, [])
    assert torch.equal(torch.get_rng_state(), state)


# Memory


@pytest.mark.parametrize("prompt", first([84, 0, 60]))
def test_dropped_state_is_computed_again(pair: Pair, prompt: int) -> None:
    case = make_case(prompt, 140)
    stream = pair.open(case)
    parts = []
    for end in range(20, 141, 20):
        if end in {60, 80, 120}:
            stream.drop_state()
            assert stream.state_bytes == 0
        parts += pair.flow.advance([FlowStep(stream, case.tokens[end - 20 : end], final=end == 140)])
    assert_same(torch.cat(parts, dim=1), pair.one_pass(case))


def test_a_stream_that_keeps_nothing_takes_no_memory(pair: Pair) -> None:
    case = make_case(84, 140)
    stream = pair.open(case)
    parts = []
    for end in range(20, 141, 20):
        parts += pair.flow.advance([FlowStep(stream, case.tokens[end - 20 : end], final=end == 140, keep=False)])
        assert stream.state_bytes == 0
    assert_same(torch.cat(parts, dim=1), pair.one_pass(case))


def test_dropped_state_is_not_computed_again_before_it_is_needed(pair: Pair) -> None:
    case = make_case(60, 60)
    stream = pair.open(case)
    pair.flow.advance([FlowStep(stream, case.tokens[:53])])
    stream.drop_state()
    assert pair.flow.advance([FlowStep(stream, case.tokens[53:54])])[0].shape == (80, 0)
    assert stream.state_bytes == 0


def test_state_bytes_are_the_tensors_bytes(pair: Pair) -> None:
    case = make_case(84, 60)
    stream = pair.open(case)
    assert stream.state_bytes == 0
    pair.flow.advance([FlowStep(stream, case.tokens[:45])])
    own = stream.pages[len(stream.voice.pages) :]
    tensors = [tensor for page in own for tensor in tensors_of(page)]
    assert len(own) == 2
    assert stream.state_bytes == sum(tensor.untyped_storage().nbytes() for tensor in tensors)


def test_pages_given_back_are_used_again(pair: Pair) -> None:
    case = make_case(84, 60)
    stream = pair.open(case)
    pair.flow.advance([FlowStep(stream, case.tokens[:45])])
    held = {page.chunk.estimator.data_ptr() for page in stream.pages[3:]}
    stream.drop_state()
    other = pair.flow.open(stream.voice)
    pair.flow.advance([FlowStep(other, case.tokens[:45])])
    assert {page.chunk.estimator.data_ptr() for page in other.pages[3:]} == held


@pytest.fixture
def three_pages(small_checkpoint: Path, pair: Pair) -> Pair:
    flow = Flow.load(small_checkpoint, CPU, torch.float32)
    flow.pool.reserve(3 * flow.pool.page_bytes + 1)
    assert flow.pool.room == 3
    return pair._replace(flow=flow)


@pytest.mark.parametrize("prompt", first([60, 20, 140]))
def test_streams_that_find_no_room_give_the_mel_of_one_pass(three_pages: Pair, prompt: int) -> None:
    """The voice has what there is, or what it leaves goes to the streams that come first."""
    flow = three_pages.flow
    cases = [make_case(prompt, 110, seed)._replace(prompt=make_case(prompt, 0).prompt) for seed in range(3)]
    cases = [case._replace(mel=cases[0].mel, speaker=cases[0].speaker) for case in cases]
    voice = flow.voice_state(cases[0].prompt, cases[0].mel, cases[0].speaker)
    assert len(voice.pages) == min((prompt - 3) // 25, 3)
    streams = [flow.open(voice) for _ in cases]
    mels: list[list[Tensor]] = [[] for _ in cases]
    for end in range(22, 111, 22):
        steps = [FlowStep(s, c.tokens[end - 22 : end], end == 110) for s, c in zip(streams, cases, strict=True)]
        for mel, parts in zip(flow.advance(steps), mels, strict=True):
            parts.append(mel)
        held = {id(page) for stream in streams for page in stream.pages} | {id(page) for page in voice.pages}
        assert len(held) + (flow.pool.room or 0) == 3
    for case, parts in zip(cases, mels, strict=True):
        assert_same(torch.cat(parts, dim=1), three_pages.one_pass(case))
    del voice, streams, steps
    assert flow.pool.room == 3, "all is free when all are gone"


def test_a_voice_s_pages_live_as_long_as_a_stream_needs_them(three_pages: Pair) -> None:
    flow, case = three_pages.flow, make_case(60, 40)
    stream = three_pages.open(case)
    other = flow.open(stream.voice)
    assert flow.pool.room == 1
    flow.advance([FlowStep(stream, case.tokens[:30])])
    assert flow.pool.room == 0
    stream.drop_state()
    assert flow.pool.room == 1
    del stream
    assert flow.pool.room == 1
    mel = speak(flow, other, case.tokens, [30])
    assert_same(mel, three_pages.one_pass(case))
    del other
    assert flow.pool.room == 3


# Misuse and bad files


def test_a_finished_stream_takes_nothing_more(pair: Pair) -> None:
    case = make_case(30, 10)
    stream = pair.open(case)
    step = FlowStep(stream, case.tokens, final=True)
    pair.flow.advance([step])
    with pytest.raises(ValueError, match="final"):
        pair.flow.advance([step])


def test_a_stream_is_advanced_once_in_a_call(pair: Pair) -> None:
    case = make_case(30, 10)
    stream = pair.open(case)
    with pytest.raises(ValueError, match="once"):
        pair.flow.advance([FlowStep(stream, case.tokens), FlowStep(stream, case.tokens)])
    assert len(stream.tokens) == 30


def load_error(folder: Path) -> str:
    with pytest.raises(LoadError) as caught:
        Flow.load(folder, CPU, torch.float32)
    message = str(caught.value)
    assert "flow.pt" in message
    assert "\n" not in message
    return message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "missing" in load_error(tmp_path)


@pytest.mark.parametrize("kept", [0, 100, 100_000])
def test_a_truncated_file_is_named(small_checkpoint: Path, tmp_path: Path, kept: int) -> None:
    (tmp_path / "flow.pt").write_bytes((small_checkpoint / "flow.pt").read_bytes()[:kept])
    assert "truncated" in load_error(tmp_path)


def test_another_network_s_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "flow.pt")
    assert "lacks input_embedding.weight" in load_error(tmp_path)
    torch.save([1, 2, 3], tmp_path / "flow.pt")
    assert "state dict" in load_error(tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("encoder_proj.bias", None, "lacks encoder_proj.bias"),
        ("encoder_proj.bias", (40,), "has shape [40] where [80] is expected"),
        ("decoder.estimator.mid_blocks.0.0.res_conv.bias", None, "lacks"),
        ("input_embedding.weight", (5,), "dimensions"),
        ("encoder.encoders.0.feed_forward_macaron.w_1.bias", (4,), "tensors that we do not know"),
    ],
)
def test_a_wrong_tensor_is_named(
    small_checkpoint: Path, tmp_path: Path, name: str, change: tuple[int, ...] | None, complaint: str
) -> None:
    weights = torch.load(small_checkpoint / "flow.pt", weights_only=True)
    if change is None:
        del weights[name]
    else:
        weights[name] = torch.zeros(change)
    torch.save(weights, tmp_path / "flow.pt")
    shutil.copy(small_checkpoint / "cosyvoice2.yaml", tmp_path)
    message = load_error(tmp_path)
    assert complaint in message
    assert name in message


def test_a_head_width_that_cannot_be_is_named(small_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copy(small_checkpoint / "flow.pt", tmp_path)
    (tmp_path / "cosyvoice2.yaml").write_text("  attention_head_dim: 7\n", "utf-8")
    assert "attention_head_dim 7" in load_error(tmp_path)


# Full size


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("prompt", [20, 75, 101])
def test_the_full_size_gives_the_mel_of_one_pass(full_pair: Pair, prompt: int) -> None:
    case = make_case(prompt, 68)
    mel = speak(full_pair.flow, full_pair.open(case), case.tokens, [8, 33])
    assert_same(mel, full_pair.one_pass(case))


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_the_full_size_in_a_batch(full_pair: Pair) -> None:
    cases = [make_case(84, 45), make_case(50, 70), make_case(0, 31)]
    streams = [full_pair.open(case) for case in cases]
    first = full_pair.flow.advance([FlowStep(s, c.tokens[:30]) for s, c in zip(streams, cases, strict=True)])
    rest = full_pair.flow.advance([FlowStep(s, c.tokens[30:], final=True) for s, c in zip(streams, cases, strict=True)])
    for case, *mels in zip(cases, first, rest, strict=True):
        assert_same(torch.cat(mels, dim=1), full_pair.one_pass(case))
