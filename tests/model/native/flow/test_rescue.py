"""Mel that is no number in fp16: it is solved again in bf16, and never heard."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import Tensor  # noqa: E402

from cosyserve_workers.native.cuda_graphs import COUNTS  # noqa: E402
from cosyserve_workers.native.driver import Driver  # noqa: E402
from cosyserve_workers.native.features.voice import VoiceFeatures  # noqa: E402
from cosyserve_workers.native.flow import rows, solver  # noqa: E402
from cosyserve_workers.native.flow.flow import Flow, FlowStep  # noqa: E402
from cosyserve_workers.native.flow.rescue import Rescue  # noqa: E402
from cosyserve_workers.native.flow.state import FlowStream, VoiceState  # noqa: E402
from cosyserve_workers.native.lanes import using_threads  # noqa: E402
from cosyserve_workers.native.memory_plan import GIB, Room  # noqa: E402
from cosyserve_workers.native.models import ModelFolder  # noqa: E402
from cosyserve_workers.native.networks import Networks, Plan  # noqa: E402
from cosyserve_workers.native.precision import Precision  # noqa: E402
from cosyserve_workers.native.utterances import Segment, Voice  # noqa: E402
from tests.model.native.flow.cases import Case, make_case  # noqa: E402
from tests.model.native.recording import KERNELS, Repeater  # noqa: E402

CPU = torch.device("cpu")
LOUD_TOKEN = 1
"""What it is embedded as finds room in bf16, and none in fp16."""


@torch.inference_mode()
def make_loud(flow: Flow) -> None:
    encoder: Any = flow._solver._encoder
    encoder._embedded[LOUD_TOKEN] = torch.tensor(1e5).to(flow.dtype)


@pytest.fixture(scope="module")
def flows(small_checkpoint: Path) -> tuple[Flow, Flow]:
    """In fp16 and in bf16."""
    made = tuple(Flow.load(small_checkpoint, CPU, dtype) for dtype in (torch.float16, torch.bfloat16))
    for flow in made:
        make_loud(flow)
    return made  # type: ignore[return-value]


def voice_of(flow: Flow, case: Case) -> VoiceState:
    return flow.voice_state(case.prompt, case.mel, case.speaker)


def say(flow: Flow | Rescue, streams: list[FlowStream], tokens: list[Tensor], part: int, *, keep: bool) -> list[Tensor]:
    """The part's tokens of each; the third is the last."""
    cut = slice(30 * part, 30 * part + 30)
    return flow.advance([FlowStep(s, t[cut], part == 2, keep) for s, t in zip(streams, tokens, strict=True)])


def alike(made: Tensor, wanted: Tensor) -> bool:
    """But for bf16's rounding, which company changes."""
    return bool((made - wanted).pow(2).mean().sqrt() < 0.05 * wanted.std())


def counted() -> int:
    return COUNTS["flow_overflows"]


@pytest.mark.full
def test_a_chunk_without_numbers_is_solved_again_and_nobody_else_hears_of_it(flows: tuple[Flow, Flow]) -> None:
    flow, spare = flows
    case = make_case(40, 90)
    tokens = [case.tokens.clamp(min=2), case.tokens.flip(0).clamp(min=2)]
    tokens[1][33] = LOUD_TOKEN
    voice, exact_voice = voice_of(flow, case), spare.voice_state(case.prompt, case.mel, case.speaker, most_bytes=0)
    ours, plain = ([flow.open(voice) for _ in range(2)] for _ in range(2))
    exact = [spare.open(exact_voice) for _ in range(2)]
    rescue, before = Rescue(flow, spare), counted()
    rescue.reserve(130)
    for part in range(3):
        made = say(rescue, ours, tokens, part, keep=True)
        wanted = say(flow, plain, tokens, part, keep=True)
        instead = say(spare, exact, tokens, part, keep=False)
        assert alike(made[0], wanted[0])
        assert alike(made[1], instead[1] if part else wanted[1])
        assert wanted[1].isfinite().all() == (part == 0)
    # Once: from then on it goes on in bf16.
    assert counted() == before + 1
    assert not ours[1].pages


def test_what_is_solved_again_has_graphs_too(small_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver, "kernels_for", lambda _: KERNELS)
    for module in (rows, solver):
        monkeypatch.setattr(module, "BUCKETS", (2,))
    flow = Flow.load(small_checkpoint, CPU, torch.float16)
    flow.pool.reserve(4 * flow.pool.page_bytes)
    rescue, recorder = Rescue.load(ModelFolder.at(small_checkpoint), flow), Repeater()
    rescue.record(recorder)
    assert recorder.recorded == 2 * 2, "the opening and a step, in either precision"
    for one in (flow, rescue._spare):
        make_loud(one)
    before, case = dict(COUNTS), make_case(40, 60)
    tokens = case.tokens.clamp(min=2)
    tokens[10] = LOUD_TOKEN
    (made,) = say(rescue, [flow.open(voice_of(flow, case))], [tokens], 0, keep=True)
    assert made.isfinite().all()
    assert dict(COUNTS) == {**before, "flow_overflows": before["flow_overflows"] + 1}
    assert rescue._spare.pool.room == 1


@pytest.mark.full
def test_a_voice_that_was_lost_is_found(flows: tuple[Flow, Flow]) -> None:
    flow, spare = flows
    case = make_case(60, 90)
    case.prompt[10] = LOUD_TOKEN
    before = counted()
    rescue = Rescue(flow, spare)
    stream, exact = flow.open(voice_of(flow, case)), spare.open(voice_of(spare, case))
    for part in range(3):
        (made,) = say(rescue, [stream], [case.tokens.clamp(min=2)], part, keep=True)
        (wanted,) = say(spare, [exact], [case.tokens.clamp(min=2)], part, keep=False)
        assert alike(made, wanted)
    assert counted() == before + 1


def test_what_is_heard_of_a_request_is_sound(small_checkpoint: Path) -> None:
    """Through the scheduler, beside a voice that has a token too loud for fp16."""
    plan = Plan(2, 0, 25, solve_width=2, prefill_rows=64)
    before = counted()
    with using_threads(1):
        folder, room = ModelFolder.at(small_checkpoint), Room(CPU, 8 * GIB, 8 * GIB)
        networks = Networks.load(folder, room, Precision("fp32", flow_name="fp16"), plan)
        driver = Driver(networks)
    assert networks.found["flow"] == "fp16"
    assert networks.renderer.rescue is not None
    for flow in (networks.renderer.flow, networks.renderer.rescue._spare):
        make_loud(flow)
    case = make_case(40, 0)
    prompts = [case.prompt.clamp(min=2), case.prompt.clamp(min=2)]
    prompts[1][10] = LOUD_TOKEN
    voices = [Voice(str(i), VoiceFeatures(prompt, case.mel, case.speaker)) for i, prompt in enumerate(prompts)]
    spoken = [driver.begin(voice, 3, 1.0, lambda: False) for voice in voices]
    for one in spoken:
        one.say(Segment([], [5, 6, 7], case.prompt.tolist()))
        one.finish()
    quiet, loud = (np.concatenate(list(one.rest())) for one in spoken)
    driver.close()
    assert counted() == before + 1
    assert len(loud) == len(quiet) > 0
    for sound in (quiet, loud):
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() > 0.01
