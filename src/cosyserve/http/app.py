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

from cosyserve.check.engines import choose
from cosyserve.errors import RequestRejected, ServiceError
from cosyserve.http.access import load_keyring
from cosyserve.http.middleware import Gate, Intakes, LingeringClose, PlainPath, RequestId, Telling
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
from cosyserve.pool.pool import Pool
from cosyserve.settings.sections import LimitSettings, ServerSettings, Settings, SettingsError
from cosyserve.speech.intake import Intake, IntakeBudget
from cosyserve.speech.modes import Speaker
from cosyserve.speech.readings import JOBS as READING
from cosyserve.speech.readings import Readings
from cosyserve.speech.speakers import VoiceBook, default_speaker
from cosyserve.speech.wording import check_lexicon
from cosyserve.voices.prompts import JOBS as DECODING
from cosyserve.voices.prompts import Decoder
from cosyserve.voices.store import VoiceStore
from cosyserve.watch.faults import watch_loop
from cosyserve.watch.lag import watch_lag
from cosyserve.watch.lines import RequestLine
from cosyserve.watch.metrics import Metrics
from cosyserve.watch.reports import Reporter
from cosyserve.wire.helper import Helpers

EXPOSED_HEADERS = (
    "Retry-After",
    "X-Bits-Per-Sample",
    "X-Channels",
    "X-Request-Id",
    "X-Sample-Rate",
    "X-Seed",
    "X-Synthesis-Mode",
    "X-Unspeakable",
)


def build_app(settings: Settings) -> Starlette:
    """The ASGI application; its lifespan starts and ends the workers and the helpers. Raises SettingsError.

    A configured prompt starts the helpers already: it is decoded here.
    """
    model = settings.model
    choice = choose(model.engine, model.source_dir, model.device)
    settings = settings.with_engine(choice.engine)
    keys = load_keyring(settings.server)
    check_lexicon(settings.text.lexicon)
    helpers = Helpers(DECODING, READING)
    decoder = Decoder(helpers)
    default = configured_voice(settings, helpers, decoder)
    store = VoiceStore(settings.voices, decoder)
    pool = Pool(settings)
    reporter = Reporter(Metrics(lambda: pool.state), log_text=settings.log.text)
    readings = Readings(helpers, settings.text)
    service = Service(
        settings, choice, keys, pool, reporter, default, store, VoiceBook(default, store, decoder), helpers, readings
    )
    budget = _intake_budget(settings.limits, len(keys))
    reporter.metrics.watch_intake(budget)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        watch_loop(asyncio.get_running_loop(), reporter.metrics.internal_errors)
        watches = [asyncio.create_task(watch) for watch in (watch_lag(reporter.metrics.loop_lag), store.watch())]
        try:
            helpers.start()
            store.load()
            pool.start()
            yield
        finally:
            for watch in watches:
                watch.cancel()
            await pool.close()
            await anyio.to_thread.run_sync(helpers.close)

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
        keys=keys,
        counted=counted,
        max_per_key=settings.limits.max_concurrency_per_key,
        public_names=settings.server.public_names,
    )
    app = Starlette(
        routes=[*speaking, *websocket.routes, *others],
        middleware=[*_outer_middleware(settings.server), gate, Middleware(Intakes, budget=budget)],
        exception_handlers={
            ServiceError: _on_service_error,
            HTTPException: _on_http_exception,
            ClientDisconnect: _on_disconnect,
        },
        lifespan=lifespan,
    )
    # `PlainPath` has taken the slash off; behind TLS, a redirect would lead to http.
    app.router.redirect_slashes = False
    app.state.service = service
    return app


def _outer_middleware(server: ServerSettings) -> list[Middleware]:
    """What strangers pass through too."""
    telling = Middleware(Telling, peers=Peers(server.trusted_proxies))
    middleware = [Middleware(PlainPath), Middleware(RequestId), telling, Middleware(LingeringClose)]
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


def _intake_budget(limits: LimitSettings, keys: int) -> IntakeBudget:
    """Where there are several keys, none of them can take all of it, unless it was given so much."""
    share = limits.max_pending_bytes_per_key or limits.max_pending_bytes // (2 if keys > 1 else 1)
    return IntakeBudget(limits.max_pending_bytes, share)


def configured_voice(settings: Settings, helpers: Helpers, decoder: Decoder) -> Speaker:
    """The voice of requests that bring none. Raises SettingsError, and closes the helpers then."""
    try:
        prompt = decoder.load_default(settings.defaults.prompt_wav)
    except (ServiceError, OSError) as error:
        helpers.close()
        raise SettingsError(f"defaults.prompt_wav = {settings.defaults.prompt_wav}: {error}") from error
    return default_speaker(prompt, settings.defaults.instruction)


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
