"""A Ray cluster of simulated nodes in a process of its own: `python -m tests.cluster.host NODES`.

A line on stdin is an order, `{"do": NAME, ...}`, and its answer a line on stdout; the cluster ends where stdin does.
For `tests.cluster.nodes`, so that no thread, handler or socket of Ray's is in the tests' own process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray._private.state import actors
from ray.cluster_utils import Cluster
from ray.serve.schema import ApplicationStatus, ServeDeploySchema

from cosyserve.cluster.names import APPLICATION

BUILDER = "cosyserve.cluster.app:build"
HEAD: dict[str, Any] = {"num_cpus": 0, "object_store_memory": 80 * 1024 * 1024}
NODE: dict[str, Any] = {**HEAD, "num_cpus": 1, "num_gpus": 1}
"""Its GPU is a number: an engine that asks for one has a node to itself."""


class Host:
    """The cluster, and a driver that deploys onto it. The first node is the head, and is in nobody's list."""

    def __init__(self, nodes: int) -> None:
        self._cluster = Cluster(initialize_head=True, head_node_args={**HEAD, "include_dashboard": False})
        self._nodes = [self._cluster.add_node(**NODE) for _ in range(nodes)]
        ray.init(address=self._cluster.address, log_to_driver=False)
        serve.start(proxy_location="Disabled")

    def address(self) -> str:
        """Where the cluster is."""
        return str(self._cluster.address)

    def logs(self) -> str:
        """The folder of what its processes write."""
        assert self._cluster.head_node is not None
        return str(Path(self._cluster.head_node.get_session_dir_path()) / "logs")

    def deploy(self, args: dict[str, Any], deployments: list[dict[str, Any]]) -> None:
        """What `serve deploy` does with such a file, but for the HTTP in between; it does not wait either."""
        log = {"log_level": "ERROR", "enable_access_log": False}
        application = {
            "name": APPLICATION,
            "import_path": BUILDER,
            "route_prefix": None,
            "args": args,
            "logging_config": log,
        }
        config = {"proxy_location": "Disabled", "applications": [{**application, "deployments": deployments}]}
        client = serve.context._get_global_client()
        assert client is not None
        client.deploy_apps(ServeDeploySchema.model_validate(config))

    def is_running(self) -> bool:
        """Whether all that was deployed is there, and nothing else any more."""
        return serve.status().applications[APPLICATION].status is ApplicationStatus.RUNNING

    def remove(self) -> None:
        """Take the service away."""
        serve.delete(APPLICATION)

    def replicas(self) -> list[dict[str, Any]]:
        """Those that live: deployment, node (its number, None for the head) and pid."""
        numbers = {node.node_id: number for number, node in enumerate(self._nodes)}
        found = []
        for actor in actors().values():
            name = str(actor["Name"])
            if actor["State"] == "ALIVE" and name.startswith(f"SERVE_REPLICA::{APPLICATION}#"):
                node = numbers.get(actor["Address"]["NodeID"])
                found.append({"deployment": name.split("#")[1], "node": node, "pid": actor["Pid"]})
        return found

    def kill_node(self, number: int) -> None:
        """SIGKILL all that runs there."""
        self._cluster.remove_node(self._nodes[number], allow_graceful=False)

    def drain_node(self, number: int) -> None:
        """What an operator does before he takes a machine away."""
        command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", self.address()]
        reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "a test"]
        subprocess.run([*command, "--node-id", self._nodes[number].node_id, *reason], check=True)

    def add_node(self) -> int:
        """One more. Returns its number."""
        self._nodes.append(self._cluster.add_node(**NODE))
        return len(self._nodes) - 1

    def close(self) -> None:
        """End all."""
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()
        self._cluster.shutdown()  # type: ignore[no-untyped-call]


def main() -> None:
    """Obey."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    host = Host(int(sys.argv[1]))
    for line in sys.stdin:
        order = json.loads(line)
        answer = getattr(host, order.pop("do"))(**order)
        print(json.dumps(answer), file=answers)
    host.close()


if __name__ == "__main__":
    main()
