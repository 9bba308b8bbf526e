"""Orders of work: here, and beside on a thread; and what is made of how long both take."""

import threading
from functools import partial
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from cosyserve_workers.native.cost_table import CostTable, measure_costs  # noqa: E402
from cosyserve_workers.native.flow.width_choice import WidthTable  # noqa: E402
from cosyserve_workers.native.lanes import using_threads  # noqa: E402
from cosyserve_workers.native.memory_plan import GIB, Room  # noqa: E402
from cosyserve_workers.native.models import ModelFolder  # noqa: E402
from cosyserve_workers.native.networks import Networks, Plan  # noqa: E402
from cosyserve_workers.native.precision import Precision  # noqa: E402
from cosyserve_workers.native.tracks import Aside, Track, Tracks  # noqa: E402

CPU = torch.device("cpu")


def test_work_here_is_done_at_once_by_whoever_asks() -> None:
    track = Track()
    assert track.submit(threading.get_ident).result(0) == threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        track.submit(lambda: 1 / 0).result(0)


def test_work_aside_is_done_in_order_on_one_thread_with_as_many_helpers() -> None:
    with using_threads(2):
        track = Aside()
    go_on = threading.Event()
    done: list[int] = []
    first = track.submit(go_on.wait)
    others = [track.submit(partial(done.append, number)) for number in range(3)]
    where, threads = track.submit(threading.get_ident), track.submit(torch.get_num_threads)
    assert not first.done()
    assert done == []
    go_on.set()
    for other in others:
        other.result(10)
    assert done == [0, 1, 2]
    assert where.result(10) != threading.get_ident()
    assert threads.result(10) == 2
    with pytest.raises(ZeroDivisionError):
        track.submit(lambda: 1 / 0).result(10)
    track.close()
    with pytest.raises(RuntimeError):
        track.submit(lambda: None)


def test_one_track_is_both() -> None:
    one = Tracks.of(CPU, 1)
    assert one.tokens is one.sound
    two = Tracks.of(CPU, 2)
    assert isinstance(two.sound, Aside)
    assert not isinstance(two.tokens, Aside)
    two.close()


@pytest.mark.parametrize(
    ("widths", "decode", "patience"),
    [
        ({1: 0.001, 2: 0.001}, 0.001, 10),
        ({1: 0.001, 2: 0.001}, 0.0001, 25),
        ({1: 0.001, 2: 0.0018}, 0.001, 2),
        ({1: 0.001, 2: 0.0021}, 0.001, 0),
        ({1: 0.001}, 0.001, 0),
    ],
    ids=["free", "no longer than a chunk", "some", "dear", "alone"],
)
def test_a_chunk_waits_as_long_as_sharing_a_solve_saves(widths: dict[int, float], decode: float, patience: int) -> None:
    assert CostTable(WidthTable(widths), decode).patience == patience


@pytest.mark.parametrize(("in_turn", "at_once", "tracks"), [(0.0, 0.0, 1), (0.02, 0.019, 1), (0.02, 0.012, 2)])
def test_two_tracks_where_both_are_done_sooner(in_turn: float, at_once: float, tracks: int) -> None:
    table = CostTable(WidthTable({1: 0.001}), 0.001, in_turn, at_once)
    assert table.tracks == tracks
    assert table.told()["tracks"].startswith(str(tracks))


@pytest.mark.full
@pytest.mark.parametrize("tracks", [2, 1])
def test_costs_are_measured_on_the_networks_themselves(small_checkpoint: Path, tracks: int) -> None:
    plan = Plan(2, 0, 25, solve_width=2, prefill_rows=64, tracks=tracks)
    with using_threads(1):
        networks = Networks.load(ModelFolder.at(small_checkpoint), Room(CPU, 8 * GIB, 8 * GIB), Precision("fp32"), plan)
        table = measure_costs(networks.renderer.flow, networks._program, networks._tracks, 2)
        assert table.decode > 0
        assert (table.in_turn > 0) == (table.at_once > 0) == (tracks == 2)
        networks.tune()
        assert (networks.plan.tracks, networks.plan.solve_width) in {(1, 1), (1, 2), (tracks, 1), (tracks, 2)}
        assert {"solve_width", "waits_for_company", "tracks"} <= set(networks.found)
        assert (networks._tracks.tokens is networks._tracks.sound) == (networks.plan.tracks == 1)
        networks.end()
