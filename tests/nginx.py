"""nginx with the configuration that is shipped, before servers of the tests."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.serving import ROOT

CONFIGURATION = ROOT / "deploy" / "nginx.conf"
SERVER = "server 127.0.0.1:50000;"


@contextlib.contextmanager
def nginx(folder: Path, port: int, *upstream_ports: int) -> Iterator[None]:
    """The snippet in a minimal http {}, with a line for each server; ready when it has written its process id."""
    snippet = CONFIGURATION.read_text(encoding="utf-8")
    servers = "\n".join(SERVER.replace("50000", str(upstream_port)) for upstream_port in upstream_ports)
    snippet = snippet.replace("listen 80;", f"listen 127.0.0.1:{port};").replace(SERVER, servers)
    places = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{place}_temp_path {folder}/{place};\n" for place in places)
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"pid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{snippet}\n}}\n"
    )
    command = ["nginx", "-e", f"{folder}/error.log", "-c", str(configuration)]
    subprocess.run([*command, "-t"], check=True)
    subprocess.run(command, check=True)  # returns when the sockets listen, and goes on as a daemon
    try:
        yield
    finally:
        subprocess.run([*command, "-s", "stop"], check=True)
