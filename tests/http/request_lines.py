"""The lines that requests have in the log."""

from typing import Any

from tests.serving import Server


def told(server: Server, request_id: str) -> list[dict[str, Any]]:
    """Those of one request that say what became of it."""
    return [line for line in server.logs() if line.get("request_id") == request_id and "status" in line]
