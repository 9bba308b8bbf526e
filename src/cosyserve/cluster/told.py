"""What Serve tells of a deployment, and what is to be understood by it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ray import serve

GIVEN_UP = "DEPLOY_FAILED"
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
    def hopeless(self) -> bool:
        """Whether nobody should wait for a replica: Serve has given up, or one says that trying again will not help."""
        return self.status == GIVEN_UP or _OURS.search(self.message) is not None

    @property
    def reason(self) -> str:
        """Why it is hopeless, in one line."""
        if ours := _OURS.search(self.message):
            return ours[2].strip()
        return " ".join(self.message.split())[-LONGEST:] if self.status == GIVEN_UP else ""


def told_of(application: str, deployment: str) -> Told:
    """Asks Serve's controller, which may take its time."""
    found = serve.status().applications.get(application)
    told = found.deployments.get(deployment) if found else None
    if told is None:
        return Told()
    replicas = {str(state): number for state, number in told.replica_states.items()}
    return Told(str(told.status.value), told.message, replicas)
