"""The command of a cluster on one machine, as tests run a server."""

import re
from pathlib import Path

from tests.serving import Server, Tables

_OF_A_PROCESS = re.compile(r"^\x1b\[\d+m\(.*?\)\x1b\[0m ", re.MULTILINE)
"""What Ray puts before each line of a process that is not the command's."""


class LocalCluster(Server):
    """`python -m cosyserve.cluster`, up when its front end is. arguments: more of its own."""

    def __init__(self, tmp_path: Path, settings: Tables, *arguments: str, await_health: str = "ok") -> None:
        # It waits for Ray's processes, which take their time on a busy machine.
        super().__init__(tmp_path, settings, await_health=await_health, loads_model=True, flags=arguments)

    def _address(self) -> str:
        if self._process.poll() is not None:
            raise AssertionError(f"it ended with status {self._process.returncode}")
        told = re.search(r"cosyserve: serving on (http://[^;]+);", self.output())
        return told[1] if told else ""

    def output(self) -> str:
        return _OF_A_PROCESS.sub("", super().output())

    def _program(self, config: Path) -> list[str]:
        return ["cosyserve.cluster", f"config={config}"]
