"""GET /metrics: what Prometheus scrapes."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cosyserve.http.service import service_of


async def metrics(request: Request) -> Response:
    """In the text format, or in OpenMetrics where the client asks for it."""
    told = service_of(request).reporter.metrics
    body, media_type = told.exposition(request.headers.get("accept", ""))
    return Response(body, headers={"content-type": media_type})


routes = [Route("/metrics", metrics)]
