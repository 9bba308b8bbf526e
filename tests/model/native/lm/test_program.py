"""The language model with its sampler, as batches come and in fixed sizes: each stream says what it says alone."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cosyserve_workers.native.cuda_graphs import COUNTS
from cosyserve_workers.native.lm.model import LanguageModel
from cosyserve_workers.native.lm.program import PREFILL_BUCKETS, TokenProgram, decode_buckets
from cosyserve_workers.native.lm.sampling import Sampler
from tests.model.conftest import first
from tests.model.native.lm.test_model import CPU, MODES, Input, relative_error
from tests.model.native.recording import Recorder

SLOTS = 10
STEPS = 120
KINDS = ("as they come", "in fixed sizes", "recorded")


class Heard:
    """Around the sampler: the scores that each slot was drawn from."""

    def __init__(self, model: LanguageModel) -> None:
        self.sampler = Sampler(model.slots, STEPS, model.sizes.vocab, model.stops, CPU)
        self.scores: dict[int, list[Tensor]] = {}

    def start(self, slot: int, seed: int, segment: int, minimum: int, maximum: int) -> None:
        self.scores[slot] = []
        self.sampler.start(slot, seed, segment, minimum, maximum)

    def step(self, slots: Tensor, logits: Tensor) -> Tensor:
        if type(logits) is Tensor:  # and not what stands for it while a step is recorded
            for slot, scores in zip(slots.tolist(), logits, strict=True):
                self.scores.setdefault(slot, []).append(scores)
        return self.sampler.step(slots, logits)


@dataclass
class Subject:
    """A program, and what is behind it."""

    model: LanguageModel
    heard: Heard
    program: TokenProgram


def program_of(model: LanguageModel, kind: str) -> Subject:
    heard = Heard(model)
    record = {"as they come": None, "in fixed sizes": lambda step: step, "recorded": Recorder()}[kind]
    return Subject(model, heard, TokenProgram(model, heard, record))


@pytest.fixture(scope="module")
def loaded(small_checkpoint: Path) -> LanguageModel:
    with pytest.MonkeyPatch.context() as patch:
        # As on a GPU: oneDNN's layouts are a CPU's.
        patch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
        return LanguageModel.load(small_checkpoint, CPU, torch.float32, slots=SLOTS, max_tokens=256)


@pytest.fixture(scope="module")
def subjects(loaded: LanguageModel) -> dict[str, Subject]:
    return {kind: program_of(loaded, kind) for kind in KINDS}


@pytest.fixture
def model(loaded: LanguageModel) -> Iterator[LanguageModel]:
    yield loaded
    for slot in range(loaded.slots):
        loaded.release(slot)


@pytest.fixture(params=first(reversed(KINDS), 2))
def subject(request: Any, subjects: dict[str, Subject], model: LanguageModel) -> Subject:
    return subjects[request.param]


@dataclass
class Stream:
    """One of many: what it begins with, when, and what has come of it."""

    seed: int
    begins: int
    input: Input
    tokens: list[int] = field(default_factory=list)
    scores: Tensor | None = None


def run_together(subject: Subject, streams: Sequence[Stream], steps: int, order: random.Random) -> None:
    """Decode `steps` tokens of each stream, in random slots and orders; each joins at its own step."""
    free = list(range(subject.model.slots))
    running: dict[int, Stream] = {}
    waiting = sorted(streams, key=lambda stream: stream.begins)
    for now in range(1000):
        while waiting and waiting[0].begins <= now and free:
            stream = waiting.pop(0)
            slot = free.pop(order.randrange(len(free)))
            running[slot] = stream
            subject.program.start(slot, stream.seed, segment=0, minimum=4, maximum=steps)
            rows = stream.input.embed(subject.model)
            assert subject.program.prefill([slot], [rows[:2]], [False]).tensor().tolist() == []
            stream.tokens += subject.program.prefill([slot], [rows[2:]], [True]).tensor().tolist()
        slots = list(running)
        order.shuffle(slots)
        if slots:
            for slot, token in zip(slots, subject.program.decode(slots).tensor().tolist(), strict=True):
                running[slot].tokens.append(token)
        for slot in [slot for slot, stream in running.items() if len(stream.tokens) == steps]:
            heard = subject.heard.scores[slot]  # nothing of a replay
            running.pop(slot).scores = torch.stack(heard) if heard else None
            subject.model.release(slot)
            free.append(slot)
        if not running and not waiting:
            return
    raise AssertionError("a stream never ended")


def test_streams_in_company_say_what_they_say_alone(subjects: dict[str, Subject], subject: Subject) -> None:
    """Ten streams, then four more in the slots they leave, joining at random steps.

    A divergence would have to be a draw within 1e-5 of a threshold. With these seeds there is none.
    """
    generator = torch.Generator().manual_seed(30)
    order = random.Random(30)
    together = [Stream(seed, order.randrange(30), Input.draw(MODES[seed % 3], generator)) for seed in range(14)]
    run_together(subject, together, 40, order)
    for stream in together:
        alone = Stream(stream.seed, 0, stream.input)
        run_together(subjects["as they come"], [alone], 40, order)
        assert stream.tokens == alone.tokens
        if subject is not subjects["recorded"]:
            assert stream.scores is not None
            assert alone.scores is not None
            assert relative_error(stream.scores, alone.scores.log_softmax(dim=-1)) <= 1e-4


def test_a_seed_says_what_it_has_always_said(subject: Subject) -> None:
    """Tokens that were recorded when the sampler was a program of its own: seeds keep their sound."""
    generator = torch.Generator().manual_seed(70)
    for seed, recorded in enumerate(json.loads(Path(__file__).with_name("spoken.json").read_text())):
        stream = Input.draw(MODES[seed % 3], generator)
        subject.program.start(3, seed, segment=seed // 3, minimum=(6, 60, 30)[seed // 3], maximum=STEPS)
        said = subject.program.prefill([3], [stream.embed(subject.model)], [True]).tensor().tolist()
        while len(said) < len(recorded):
            said += subject.program.decode([3]).tensor().tolist()
        assert said == recorded
        subject.model.release(3)


def test_prompts_of_many_streams_in_one_prefill(subjects: dict[str, Subject], subject: Subject) -> None:
    generator = torch.Generator().manual_seed(31)
    inputs = [Input.draw("zero_shot", generator).embed(subject.model)[:60] for _ in range(4)]
    whole = [True, False, True, True]
    slots = [7, 0, 9, 2]
    for slot in slots:
        subject.program.start(slot, slot, segment=0, minimum=0, maximum=STEPS)
    together = subject.program.prefill(slots, inputs, whole).tensor().tolist()
    plain = subjects["as they come"].program
    alone = []
    for slot, rows, complete in zip(slots, inputs, whole, strict=True):
        subject.model.release(slot)
        plain.start(slot, slot, segment=0, minimum=0, maximum=STEPS)
        alone += plain.prefill([slot], [rows], [complete]).tensor().tolist()
    assert together == alone


@pytest.mark.full
def test_fixed_sizes_are_recorded_at_load_and_never_again(model: LanguageModel) -> None:
    recorder = Recorder()
    heard = Heard(model)
    program = TokenProgram(model, heard, recorder)
    assert recorder.recorded == len(decode_buckets(SLOTS)) + len(PREFILL_BUCKETS)
    before, replayed = dict(COUNTS), recorder.replayed
    dice = random.Random(3)
    for turn in range(12):
        slots = dice.sample(range(SLOTS), dice.randint(1, SLOTS))
        for slot in slots:
            model.release(slot)
            program.start(slot, turn, segment=0, minimum=0, maximum=STEPS)
        program.prefill(
            slots, [torch.zeros(dice.randint(1, 51), model.sizes.hidden) for _ in slots], [True] * len(slots)
        )
        program.decode(slots)
    assert recorder.replayed == replayed + 24
    assert dict(COUNTS) == before
    with pytest.raises(ValueError, match="513 rows are more than the 512"):
        program.prefill(range(3), [torch.zeros(171, model.sizes.hidden)] * 3, [True] * 3)


def test_what_fills_up_a_batch_disturbs_nobody(subjects: dict[str, Subject], model: LanguageModel) -> None:
    subject = subjects["recorded"]
    for slot in range(SLOTS):
        subject.program.start(slot, slot, segment=0, minimum=0, maximum=STEPS)
    state, cache = subject.heard.sampler._state, model._cache
    cache.keys.fill_(7)
    drawn = state.clone()
    subject.program.prefill(
        [4, 8], [torch.zeros(5, model.sizes.hidden), torch.zeros(6, model.sizes.hidden)], [True, False]
    )
    subject.program.decode([8, 4, 5])
    touched = (cache.keys != 7).any(dim=0).any(dim=1).any(dim=-1).nonzero().tolist()
    nobodys = [[SLOTS, 0]]
    assert touched == [*([4, place] for place in range(6)), [5, 0], *([8, place] for place in range(7)), *nobodys]
    assert (state != drawn).any(dim=1).nonzero().flatten().tolist() == [4, 5, 8, SLOTS]
    assert [state[slot, 0].item() for slot in (4, 5, 8)] == [2, 1, 1]


@pytest.mark.parametrize("broken", ["wrong", "impossible"])
def test_graphs_that_do_not_work_are_left_out(
    model: LanguageModel, subjects: dict[str, Subject], broken: str, caplog: Any
) -> None:
    def record(step: Any) -> Any:
        if broken == "impossible":
            raise RuntimeError("operation not permitted when stream is capturing")
        return lambda: (step()[0] + 1e3, torch.tensor([0]))

    stream = Stream(5, 0, Input.draw("zero_shot", torch.Generator().manual_seed(32)))
    wanted = Stream(5, 0, stream.input)
    run_together(subjects["as they come"], [wanted], 10, random.Random(1))
    heard = Heard(model)
    run_together(Subject(model, heard, TokenProgram(model, heard, record)), [stream], 10, random.Random(1))
    assert "CUDA graphs are off for the language model" in caplog.text
    assert stream.tokens == wanted.tokens


def test_buckets_are_powers_of_two_up_to_the_slots() -> None:
    assert decode_buckets(10) == [1, 2, 4, 8, 10]
    assert decode_buckets(16) == [1, 2, 4, 8, 16]
    assert decode_buckets(1) == [1]
