"""GET /openapi.json and /docs: what the service says of itself."""

import json
from functools import lru_cache

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from cosyserve.http.description.document import build_document
from cosyserve.http.description.page import build_page
from cosyserve.http.service import service_of
from cosyserve.settings.sections import Settings

# Nothing but its own style: a page that says what it needs needs no network.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


async def openapi(request: Request) -> Response:
    """The document."""
    document = await anyio.to_thread.run_sync(_as_json, service_of(request).settings)
    return Response(document, media_type="application/json")


async def docs(request: Request) -> HTMLResponse:
    """The document, to read."""
    # A path with a slash at its end is a folder to the browser.
    up = "../" if request.scope.get("raw_path", b"").endswith(b"/") else ""
    page = await anyio.to_thread.run_sync(_as_page, service_of(request).settings, up)
    return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})


# Strangers may ask for both: what takes milliseconds is made once.
@lru_cache(maxsize=1)
def _as_json(settings: Settings) -> str:
    return json.dumps(build_document(settings), ensure_ascii=False)


@lru_cache(maxsize=2)
def _as_page(settings: Settings, up: str) -> str:
    return build_page(build_document(settings), settings, up)


routes = [Route("/openapi.json", openapi), Route("/docs", docs)]
