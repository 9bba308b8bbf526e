"""What Serve tells of a deployment, and what is to be understood by it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ray import serve

HOPELESS = frozenset({"DEPLOY_FAILED", "UNHEALTHY"})
COMING = ("STARTING", "UPDATING", "RECOVERING", "PENDING_MIGRATION")
_OURS = re.compile(r"(EngineCannotLoad|SettingsError): (.*)")
"""The last line of the trace of what keeps a replica from its start: one line with the remedy."""
LONGEST = 500


@dataclass(frozen=True)
class Told:
    """status: as Serve calls it. replicas: how many there are, by Serve's names of states."""

    status: str = ""
    message: str = ""
    replicas: Mapping[str, int] = field(default_factory=dict)

    @property
    def running(self) -> int:
        """Replicas that take jobs."""
        return self.replicas.get("RUNNING", 0)

    @property
    def coming(self) -> int:
        """Replicas that start, or are changed."""
        return sum(self.replicas.get(state, 0) for state in COMING)

    @property
    def leaving(self) -> int:
        """Replicas that are about to go."""
        return self.replicas.get("STOPPING", 0)

    @property
    def final(self) -> bool:
        """Whether a replica has said that it cannot start as configured, and trying again would not help."""
        return _OURS.search(self.message) is not None

    @property
    def reason(self) -> str:
        """Why there are not as many replicas as there should be, in one line; "" where nothing is known to be wrong."""
        if ours := _OURS.search(self.message):
            return ours[2].strip()
        return " ".join(self.message.split())[-LONGEST:] if self.status in HOPELESS else ""


def told_of(application: str, deployment: str) -> Told:
    """Asks Serve's controller, which may take its time."""
    found = serve.status().applications.get(application)
    told = found.deployments.get(deployment) if found else None
    if told is None:
        return Told()
    replicas = {str(state): number for state, number in told.replica_states.items()}
    return Told(str(told.status.value), told.message, replicas)
