"""The application: routes, middleware, error handlers, and the lifespan that owns the pool and the helpers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from cosyserve.errors import RequestRejected, ServiceError
from cosyserve.http.middleware import Gate, Intakes, LingeringClose, PlainPath, RequestId, Shares, Telling
from cosyserve.http.opening import open_service
from cosyserve.http.peers import Peers
from cosyserve.http.responses import Unheard, error_response
from cosyserve.http.routes import (
    cosyvoice,
    description,
    health,
    metrics,
    openai,
    page,
    synthesize,
    voices,
    websocket,
    words,
)
from cosyserve.http.service import Service
from cosyserve.http.tracing import Traced
from cosyserve.settings.sections import ServerSettings, Settings
from cosyserve.speech.intake import Intake
from cosyserve.watch.faults import watch_loop
from cosyserve.watch.lag import watch_lag
from cosyserve.watch.lines import RequestLine
from cosyserve.watch.spans import Spans

EXPOSED_HEADERS = (
    "Retry-After",
    "X-Bits-Per-Sample",
    "X-Channels",
    "X-Request-Id",
    "X-Sample-Rate",
    "X-Seed",
    "X-Synthesis-Mode",
    "X-Unspeakable",
    "traceresponse",
)


def build_app(settings: Settings) -> Starlette:
    """The ASGI application of these settings, with a service of its own. Raises SettingsError.

    A configured prompt starts the helpers already: it is decoded here.
    """
    return application(open_service(settings))


def application(service: Service) -> Starlette:
    """The ASGI application of a service; its lifespan starts and ends the workers and the helpers."""
    settings = service.settings
    speaking = [*synthesize.routes, *openai.routes, *cosyvoice.routes]
    others = [
        *openai.model_routes,
        *words.routes,
        *voices.routes,
        *health.routes,
        *metrics.routes,
        *description.routes,
        *page.routes,
    ]
    counted = {*(route.path for route in speaking), *(route.path for route in websocket.routes)}
    gate = Middleware(
        Gate,
        keys=service.keys,
        shares=Shares(counted, settings.limits.max_concurrency_per_key, service.under_way),
        public_names=settings.server.public_names,
    )
    app = Starlette(
        routes=[*speaking, *websocket.routes, *others],
        middleware=[
            *_outer_middleware(settings.server, service.spans),
            gate,
            Middleware(Intakes, budget=service.budget),
        ],
        exception_handlers={
            ServiceError: _on_service_error,
            HTTPException: _on_http_exception,
            ClientDisconnect: _on_disconnect,
        },
        lifespan=lambda _: _alive(service),
    )
    # `PlainPath` has taken the slash off; behind TLS, a redirect would lead to http.
    app.router.redirect_slashes = False
    app.state.service = service
    return app


def _outer_middleware(server: ServerSettings, spans: Spans) -> list[Middleware]:
    """What strangers pass through too."""
    telling = Middleware(Telling, peers=Peers(server.trusted_proxies))
    traced = Middleware(Traced, spans=spans)
    middleware = [Middleware(PlainPath), Middleware(RequestId), traced, telling, Middleware(LingeringClose)]
    if server.cors_origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=server.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )
        middleware.append(cors)
    return middleware


@asynccontextmanager
async def _alive(service: Service) -> AsyncIterator[None]:
    metrics = service.reporter.metrics
    watch_loop(asyncio.get_running_loop(), metrics.internal_errors)
    watches = [asyncio.create_task(watch) for watch in (watch_lag(metrics.loop_lag), service.voices.watch())]
    try:
        service.helpers.start()
        await anyio.to_thread.run_sync(service.voices.load)
        service.pool.start()
        yield
    finally:
        for watch in watches:
            watch.cancel()
        await service.pool.close()
        await anyio.to_thread.run_sync(service.helpers.close)
        await anyio.to_thread.run_sync(service.spans.close)


async def _on_service_error(request: Request, error: Exception) -> Response:
    """What the request brought goes before the answer does, whose reader may take his time.

    The frames in the error's trace would hold it else.
    """
    assert isinstance(error, ServiceError)
    Intake.of(request.scope).close()
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error_response(error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own refusals (no such route, method not allowed) in our shape."""
    assert isinstance(error, HTTPException)
    code = HTTPStatus(error.status_code).name.lower()
    RequestLine.of(request.scope).code = code
    allowed = (error.headers or {}).get("Allow")
    wrong = f"this path takes {allowed} alone" if allowed else "there is nothing at this path"
    message = f"{wrong}: GET /docs says what there is"
    body = {"error": {"message": message, "type": RequestRejected.type, "code": code, "param": None}}
    return JSONResponse(body, error.status_code, error.headers)


async def _on_disconnect(_: Request, __: Exception) -> Response:
    """The client went away while it was sending."""
    return Unheard()
