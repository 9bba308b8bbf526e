"""An S3 service for tests: moto's server in a process of its own, and buckets in it.

`python -m tests.s3 PORT` serves. Conditional writes are one step there, as they are at AWS: moto by itself looks first
and writes then, and between the two another thread may write.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.serving import DEADLINE_S, ROOT, free_port, wait_for

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


class S3:
    """Up when entered, gone when left. port: one that another instance had; None for a free one."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self._log = folder / "s3.log"
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes]

    @property
    def env(self) -> dict[str, str]:
        """What makes AWS's tools use it, and nothing else that may be there."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.url, "AWS_EC2_METADATA_DISABLED": "true"}

    def make_bucket(self, name: str) -> str:
        """Its URL."""
        httpx.put(f"{self.url}/{name}", trust_env=False).raise_for_status()
        return f"s3://{name}"

    def put(self, path: str, content: bytes) -> None:
        """An object, over what is there. path: `bucket/key`."""
        httpx.put(f"{self.url}/{path}", content=content, trust_env=False).raise_for_status()

    def get(self, path: str) -> bytes:
        """An object."""
        return httpx.get(f"{self.url}/{path}", trust_env=False).raise_for_status().content

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.s3", str(self.port)],
                cwd=ROOT,
                env={**os.environ, **CREDENTIALS},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            wait_for(self._answers, "the S3 server to answer")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def freeze(self) -> None:
        """From now on it takes requests, and answers none."""
        self._process.send_signal(signal.SIGSTOP)

    def stop(self) -> None:
        """End it; what it had is gone."""
        self._process.kill()
        self._process.wait(DEADLINE_S)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            return httpx.get(f"{self.url}/", trust_env=False).is_success
        except httpx.TransportError:
            return False


Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def _one_write_at_a_time(app: Wsgi) -> Wsgi:
    writing = threading.Lock()

    def serve(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "GET":
            return app(environ, start_response)
        with writing:
            return app(environ, start_response)

    return serve


def _serve(port: int) -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", port, _one_write_at_a_time(DomainDispatcherApplication(create_backend_app)), threaded=True)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
