"""GET /openapi.json and /docs: what the service says of itself."""

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from cosyserve.description.document import build_document
from cosyserve.description.page import build_page
from cosyserve.service import service_of

# Nothing but its own style: a page that says what it needs needs no network.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


async def openapi(request: Request) -> JSONResponse:
    """The document."""
    return JSONResponse(build_document(service_of(request).settings))


async def docs(request: Request) -> HTMLResponse:
    """The document, to read."""
    page = build_page(build_document(service_of(request).settings))
    return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})


routes = [Route("/openapi.json", openapi), Route("/docs", docs)]
