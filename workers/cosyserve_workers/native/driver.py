"""The thread that runs the networks, and what crosses to it and from it: segments in, sound out.

A stream's own thread prepares text and voice, then waits for sound. Everything else happens here, turn by turn: what
came is taken in, the cancelled leave, the scheduler names a turn, the networks take it. A solve may have its own track:
then what it has made comes in like all else, and steps of the language model are taken meanwhile, as far as to the next
chunks. `cancelled` is asked between turns and by this thread alone: so the heartbeat stops when the networks hang,
whatever else waits.
"""

import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

import numpy as np
import torch
from numpy.typing import NDArray

from cosyserve_workers.engine import EngineBroken
from cosyserve_workers.native.lanes import set_threads
from cosyserve_workers.native.networks import Networks
from cosyserve_workers.native.scheduler import Decode, Prefill, Scheduler, Solve, Turn
from cosyserve_workers.native.utterances import Request, Segment, Sound, Voice

DeviceLost = getattr(torch, "AcceleratorError", ())
"""What torch raises for errors after which a process cannot use its GPU any more."""

log = logging.getLogger(__name__)


class Utterance:
    """A request, as the thread sees it that waits for its sound. Made by `Driver.begin`; nothing here waits but `rest`.

    cancelled: whether to end early, asked between turns by the driver. shares: of the turns that it took part in,
    seconds by what they were; a turn is divided evenly among those who shared it.
    """

    def __init__(self, driver: "Driver", cancelled: Callable[[], bool]) -> None:
        self.cancelled = cancelled
        self.shares: defaultdict[str, float] = defaultdict(float)
        self.request: Request | None = None
        self.complete = False
        self._driver = driver
        self._sound: queue.SimpleQueue[NDArray[np.float32] | Exception | None] = queue.SimpleQueue()

    def say(self, segment: Segment) -> None:
        """Give it another segment."""
        self._driver.post(lambda: self._driver.take_segment(self, segment))

    def finish(self) -> None:
        """Tell that no segment will follow."""
        self._driver.post(lambda: self._driver.take_end(self))

    def leave(self) -> None:
        """Take it out of whatever it is in, its end included."""
        self._driver.post(lambda: self._driver.remove(self, None))

    def made(self) -> Iterator[NDArray[np.float32]]:
        """Yield the sound that is there by now: [n] float32 each. Raises what went wrong."""
        while not self._sound.empty():
            sound = self._sound.get()
            if sound is None:
                self.put(None)  # for `rest`
                return
            yield _sound_or_raise(sound)

    def rest(self) -> Iterator[NDArray[np.float32]]:
        """Yield all sound until its end, as it is made: [n] float32 each. Raises what went wrong."""
        while (sound := self._sound.get()) is not None:
            yield _sound_or_raise(sound)

    def put(self, sound: NDArray[np.float32] | Exception | None) -> None:
        """Hand over sound, an error, or None for the end."""
        self._sound.put(sound)


def _sound_or_raise(sound: NDArray[np.float32] | Exception) -> NDArray[np.float32]:
    if isinstance(sound, Exception):
        raise sound
    return sound


class Driver:
    """Runs the networks for up to `plan.slots` utterances at once, on a thread of its own.

    All methods but `begin`, `post` and `close` are for that thread.
    """

    def __init__(self, networks: Networks) -> None:
        plan = networks.plan
        self._networks = networks
        self._scheduler = Scheduler(plan.solve_width, plan.prefill_rows, plan.patience)
        self._plan = plan
        self._solving = False
        self._taking_part: dict[int, Utterance] = {}
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._broken: EngineBroken | None = None
        self._threads = torch.get_num_threads()
        self._thread = threading.Thread(target=self._run, name="networks", daemon=True)
        self._thread.start()

    def begin(self, voice: Voice, seed: int, speed: float, cancelled: Callable[[], bool]) -> Utterance:
        """Begin an utterance; its segments follow."""
        utterance = Utterance(self, cancelled)
        self.post(lambda: self._take_in(utterance, voice, seed, speed))
        return utterance

    def post(self, event: Callable[[], None]) -> None:
        """Have something done between turns. Raises EngineBroken where there will be none."""
        if self._broken is not None:
            raise self._broken
        self._inbox.put(event)

    def close(self) -> None:
        """End the thread after its turn."""
        self._inbox.put(None)
        self._thread.join()

    def _take_in(self, utterance: Utterance, voice: Voice, seed: int, speed: float) -> None:
        try:
            utterance.request = self._networks.open(seed, speed, voice)
        except Exception as error:
            utterance.put(error)
            return
        self._taking_part[utterance.request.slot] = utterance
        self._scheduler.join(utterance.request.slot, time.monotonic())

    def take_segment(self, utterance: Utterance, segment: Segment) -> None:
        """Hand a segment to the networks. One that left gets no more."""
        request = utterance.request
        if request is None:
            return
        try:
            rows = self._networks.add(request, segment)
        except Exception as error:
            self.remove(utterance, error)
            return
        self._scheduler.say(request.slot, len(request.voice.features.speech_tokens), rows)

    def take_end(self, utterance: Utterance) -> None:
        """Note that its text is complete."""
        utterance.complete = True
        self._remove_if_said(utterance)

    def remove(self, utterance: Utterance, ending: Exception | None) -> None:
        """Take an utterance out and end its sound, with an error or without. It may be out already."""
        request = utterance.request
        if request is None:
            return
        utterance.request = None
        del self._taking_part[request.slot]
        self._scheduler.leave(request.slot)
        self._networks.close(request)
        utterance.put(ending)

    def _remove_if_said(self, utterance: Utterance) -> None:
        request = utterance.request
        if request is not None and utterance.complete and self._scheduler.idle(request.slot):
            self.remove(utterance, None)

    def _run(self) -> None:
        # A new thread would get as many as another thread chose last.
        set_threads(self._threads)
        idle = True
        try:
            with self._networks.on_the_tokens_track():
                while self._take_events(wait=idle):
                    self._dismiss_cancelled()
                    idle = not self._take_turns()
        except DeviceLost as error:
            self._break_off(EngineBroken(f"the GPU is lost to this process: {error}"))
        except Exception as error:
            log.exception("the networks' thread failed")
            self._break_off(EngineBroken(f"the networks' thread failed: {error!r}"))
        finally:
            self._networks.end()

    def _take_turns(self) -> bool:
        """Begin what is next. Returns whether there was anything."""
        took = False
        for turn in self._turns():
            if turn is not None:
                self._take(turn)
                took = True
        # Tokens that are on their way may be all that is waited for.
        return took or self._collect(0)

    def _turns(self) -> Iterator[Turn | None]:
        """What is next: one turn, or one of each track that is free."""
        if self._plan.tracks == 1:
            yield self._scheduler.next()
            return
        if not self._solving:
            yield self._scheduler.next_solve()
        yield self._scheduler.next_step()

    def _take_events(self, *, wait: bool) -> bool:
        """Do what was posted. Returns whether to go on."""
        while wait or not self._inbox.empty():
            event = self._inbox.get()
            if event is None:
                return False
            event()
            wait = False
        return True

    def _dismiss_cancelled(self) -> None:
        for utterance in list(self._taking_part.values()):
            if utterance.cancelled():
                self.remove(utterance, None)

    def _break_off(self, reason: EngineBroken) -> None:
        self._broken = reason
        for utterance in self._taking_part.values():
            utterance.put(reason)

    def _take(self, turn: Turn) -> None:
        """Take a turn. What goes wrong in it ends those that took part, and nobody else."""
        requests, began_at = [self._request(slot) for slot in _streams(turn)], time.monotonic()
        try:
            match turn:
                case Prefill():
                    rows = [rows for _, rows in turn.pieces]
                    prefill(self._networks, self._scheduler, list(zip(requests, rows, strict=True)))
                    self._collect(self._plan.steps_behind)
                    self._share(requests, "prefill", began_at)
                case Decode():
                    self._networks.decode(requests)
                    self._collect(self._plan.steps_behind)
                    self._share(requests, "decode", began_at)
                case Solve():
                    self._solve(requests, began_at)
        except DeviceLost:
            raise
        except Exception as error:
            self._fail(requests, error)

    def _collect(self, behind: int) -> bool:
        return collect(self._networks, self._scheduler, behind)

    def _share(self, requests: Sequence[Request], stage: str, began_at: float) -> None:
        share_s = (time.monotonic() - began_at) / len(requests)
        for utterance in map(self._utterance, requests):
            if utterance is not None:
                utterance.shares[stage] += share_s

    def _solve(self, requests: Sequence[Request], began_at: float) -> None:
        self._solving = True
        solving = self._networks.solve(requests)
        solving.add_done_callback(lambda done: self._inbox.put(lambda: self._solved(requests, done, began_at)))
        if self._plan.tracks == 1:
            # The sound came after them.
            self._collect(0)

    def _solved(self, requests: Sequence[Request], solving: Future[list[Sound]], began_at: float) -> None:
        """Hand over what was made, to those who are still there."""
        self._solving = False
        try:
            sounds = solving.result()
        except DeviceLost:
            raise
        except Exception as error:
            self._fail(requests, error)
            return
        # Whoever has its last sound may ask at once what it took.
        self._share(requests, "solve", began_at)
        now = time.monotonic()
        for request, (samples, chunk) in zip(requests, sounds, strict=True):
            utterance = self._utterance(request)
            if utterance is None:
                continue
            if len(samples):
                utterance.put(samples)
            self._scheduler.solved(request.slot, chunk, now)
            self._remove_if_said(utterance)

    def _fail(self, requests: Sequence[Request], error: Exception) -> None:
        for request in requests:
            utterance = self._utterance(request)
            if utterance is not None:
                self.remove(utterance, error)

    def _utterance(self, request: Request) -> Utterance | None:
        """Whose it is, unless that has left: another may be in its slot."""
        utterance = self._taking_part.get(request.slot)
        return utterance if utterance is not None and utterance.request is request else None

    def _request(self, slot: int) -> Request:
        request = self._taking_part[slot].request
        assert request is not None
        return request


def prefill(networks: Networks, scheduler: Scheduler, pieces: Sequence[tuple[Request, int]]) -> None:
    """Prefill so many rows of each, and tell the scheduler."""
    networks.prefill(pieces)
    for request, rows in pieces:
        scheduler.prefilled(request.slot, rows)


def collect(networks: Networks, scheduler: Scheduler, behind: int) -> bool:
    """Tell the scheduler the tokens of all steps but the last so many. Returns whether there were any."""
    drawn = networks.collect(behind)
    for request, token in drawn:
        scheduler.drawn(request.slot, token=token.token, ended=token.ended)
    return bool(drawn)


def _streams(turn: Turn) -> Sequence[int]:
    return [slot for slot, _ in turn.pieces] if isinstance(turn, Prefill) else turn.streams
