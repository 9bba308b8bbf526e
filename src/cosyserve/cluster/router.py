"""Which replica a job goes to: one that has its voice, where that is about as free as the freest, else the freest.

Serve's own multiplexing would wait for a replica that has the voice; nobody waits here while another is free.
"""

import random
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, TypeVar

from ray.serve.request_router import FIFOMixin, PendingRequest, ReplicaID, RequestRouter, RunningReplica

from cosyserve.cluster.crossing import Order
from cosyserve.cluster.seen import Seen, publish

REMEMBERED_VOICES = 1024
LEEWAY = 0.25
"""The part of its streams that a replica with the voice may be busier by than the freest, and still be preferred."""
ASKED = 2
"""Of those that are full as far as is known, so many are asked whether they still are."""

R = TypeVar("R")
"""What a replica is known by."""


class VoiceRouter(FIFOMixin, RequestRouter):
    """Serve makes one in each process that has a handle. Whoever waits is served in the order of coming."""

    def initialize_state(self, **_: Any) -> None:
        """Serve's own constructor of what is ours."""
        self._voices: OrderedDict[str, ReplicaID] = OrderedDict()

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Those to try first, then those to try where none of them takes it."""
        holder = None
        if pending_request is not None:
            # Else Serve would ask again at once, and without end.
            pending_request.routing_context.should_backoff = True
            holder = self._voices.get(_digest(pending_request) or "")
        load = {one.replica_id: self._load(one) for one in candidate_replicas}
        ranks = ranked(load, holder)
        return [[self._replicas[one] for one in rank if one in self._replicas] for rank in ranks]

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Serve tells of those that run, and of what they tell."""
        super().update_replicas(replicas)
        publish([Seen(one.replica_id.unique_id, {**one.replica_metadata, **one.routing_stats}) for one in replicas])

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any) -> None:
        """It has the voice from now on."""
        del result
        digest = _digest(pending_request)
        if digest is None:
            return
        self._voices[digest] = replica_id
        self._voices.move_to_end(digest)
        if len(self._voices) > REMEMBERED_VOICES:
            self._voices.popitem(last=False)

    def _load(self, replica: RunningReplica) -> float:
        """The part of its streams in use as far as is known, 1 and more where it is full."""
        running = self._replica_queue_len_cache.get(replica.replica_id) or 0
        return float(running / max(1, replica.max_ongoing_requests))


def ranked(load: Mapping[R, float], holder: R | None) -> list[list[R]]:
    """Replicas by rank. load: the part of its streams that each has in use. holder: who has the voice."""
    free = [one for one, part in load.items() if part < 1]
    if not free:
        return [random.sample(list(load), min(ASKED, len(load)))]
    freest = min(load[one] for one in free)
    if holder in free and load[holder] <= freest + LEEWAY:
        return [[holder], free]
    return [free]


def _digest(pending: PendingRequest) -> str | None:
    order = pending.args[0] if pending.args else None
    return order.request.prompt.digest if isinstance(order, Order) else None
