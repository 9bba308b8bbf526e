"""GET /health, /health/live and /model_info: what orchestrators and operators ask."""

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from cosyserve.http.service import service_of
from cosyserve.pool.status import WorkerState
from cosyserve.speech.instructions import known_to

RETRY_AFTER_S = "5"


async def health(request: Request) -> JSONResponse:
    """Readiness: 200 while a worker is ready, else 503 with the same shape."""
    service = service_of(request)
    pool = service.pool
    ready = [status.details for status in pool.statuses() if status.state == WorkerState.READY]
    devices = sorted({details["device"] for details in ready if "device" in details})
    details = {"engine": service.settings.model.engine, "devices": devices}
    body = {"status": pool.health, "model_type": pool.model_type, "details": details}
    if pool.health == "ok":
        return JSONResponse(body)
    return JSONResponse(body, 503, {"Retry-After": RETRY_AFTER_S})


async def live(_: Request) -> JSONResponse:
    """Liveness of this process alone."""
    return JSONResponse({"status": "ok"})


async def model_info(request: Request) -> JSONResponse:
    """What is loaded, and each worker's state."""
    service = service_of(request)
    model, pool = service.settings.model, service.pool
    state = pool.state
    return JSONResponse(
        {
            "model_type": pool.model_type,
            "model_dir": None if model.engine == "demo" else str(model.dir),
            "default_instruction": service.default.instruction,
            "instructions": known_to(pool.model_type),
            "usage": "Use /synthesize endpoint with 'instruction' parameter (CosyVoice2/3)",
            "endpoint": "/synthesize",
            "engine": model.engine,
            "engine_chosen": service.choice.why or None,
            "note": "espeak-ng's voice, not CosyVoice's: for trying the service out"
            if model.engine == "demo"
            else None,
            "status": pool.health,
            "generation": state.generation,
            "sample_rate": pool.sample_rate,
            "running": state.running,
            "waiting": state.waiting,
            "buffered_bytes": state.buffered_bytes,
            "workers": [asdict(status) for status in pool.statuses()],
        }
    )


routes = [
    Route("/health", health),
    Route("/health/live", live),
    Route("/model_info", model_info),
]
