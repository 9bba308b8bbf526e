"""Simulated nodes on this machine, and the service on them as its clients meet it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.serving import DEADLINE_S, LOADING_S, ROOT, Server, Tables, free_port, wait_for

TOKEN = "of-simulated-nodes-and-longer-than-32-characters"
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": TOKEN,
    "RAY_USAGE_STATS_ENABLED": "0",
    # Two cores carry all of them.
    "OMP_NUM_THREADS": "1",
}


class Nodes:
    """`tests.cluster.host` with so many nodes beside the head, there while entered. folder: of its log."""

    def __init__(self, folder: Path, nodes: int = 3) -> None:
        self._log = folder / "nodes.log"
        self._nodes = nodes
        self._process: subprocess.Popen[str]

    def __enter__(self) -> Self:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("COSYSERVE_", "RAY_"))}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.cluster.host", str(self._nodes)],
                cwd=ROOT,
                env={**inherited, **ENVIRONMENT},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(DEADLINE_S)
        finally:
            # Ray's processes are of its group, and none may outlive the tests.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process.stdout.close()

    @property
    def pid(self) -> int:
        """Of the process that all of Ray's are below."""
        return self._process.pid

    def tell(self, do: str, **order: Any) -> Any:
        """Have an order of `Host` obeyed. Returns its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **order}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, self._log.read_text(encoding="utf-8", errors="replace")[-4000:]
        return json.loads(answer)

    def replicas(self, deployment: str = "Engine") -> list[dict[str, Any]]:
        """Those of a deployment that live."""
        return [replica for replica in self.tell("replicas") if replica["deployment"] == deployment]


class Service(Server):
    """The service on nodes, with the ways of a server. engine: Serve's options of the engines' deployment."""

    def __init__(self, nodes: Nodes, folder: Path, settings: Tables | None = None, **engine: Any) -> None:
        super().__init__(folder, settings, loads_model=True)
        self._nodes = nodes
        self._engine = engine
        self._args: dict[str, Any] = {}

    def start(self) -> None:
        """Deploy it, and wait until /health says that it is well."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        config = self.configure({"server": {"shutdown_grace_s": 30, "port": self.port}})
        # As in deploy/: no front is on the head.
        self._args = {"config": str(config), "gpus": 1, "front_cpus": 1}
        self.roll_out({})
        wait_for(lambda: self._nodes.tell("is_running"), "a running application", LOADING_S, 0.5)
        wait_for(lambda: self.health() == "ok", "/health to say 'ok'")

    def roll_out(self, args: Mapping[str, Any], **engine: Any) -> None:
        """Begin to change what runs. args: of the builder, over those that it has; others replace all replicas."""
        self._args |= args
        self._engine |= engine
        self._nodes.tell("deploy", args=self._args, deployments=[{"name": "Engine", **self._engine}])

    def stop(self) -> None:
        """Take it away."""
        self._nodes.tell("remove")
        self._client.close()

    def output(self) -> str:
        """What the nodes' fronts and engines have written so far."""
        files = sorted(Path(self._nodes.tell("logs")).glob("worker-*"))
        texts = [file.read_text(encoding="utf-8", errors="replace") for file in files]
        return "\n".join(text for text in texts if ":actor_name:ServeReplica:" in text)
