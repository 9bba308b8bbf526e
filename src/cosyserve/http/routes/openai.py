"""OpenAI's speech API: POST /v1/audio/speech and GET /v1/models."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from cosyserve.errors import ModelNotFound, UnspeakableText
from cosyserve.http.bodies import read_body
from cosyserve.http.json_body import check_type
from cosyserve.http.responses import SpeechResponse
from cosyserve.http.service import Service, service_of
from cosyserve.http.silence import OrSilence, Silence
from cosyserve.http.speech_json import read_speech_body
from cosyserve.speech.instructions import known_to
from cosyserve.speech.intake import Intake
from cosyserve.speech.requests import Draft

MODEL_ALIASES = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
"""What clients call OpenAI's models; here each of them is the one that is loaded."""
USUAL_RATE = 24_000
"""Hz of what CosyVoice2 and CosyVoice3 say: as long as no worker has told its own."""


async def speech(request: Request) -> SpeechResponse | Silence | OrSilence:
    """JSON in, streamed speech out."""
    service, intake = service_of(request), Intake.of(request.scope)
    body = await read_body(request, service.body_limits, intake)
    check_type(request.headers)
    draft = await read_speech_body(body, service.settings.limits.max_text_chars, intake)
    del body
    if service.settings.speech.unspeakable == "error":
        return await service.speak(draft, intake)
    return await _speak_or_be_silent(service, draft, intake)


async def _speak_or_be_silent(service: Service, draft: Draft, intake: Intake) -> Silence | OrSilence:
    silence = Silence(draft, service.pool.sample_rate or USUAL_RATE)
    try:
        return OrSilence(await service.speak(draft, intake), silence)
    except UnspeakableText:
        return silence


async def models(request: Request) -> JSONResponse:
    """The loaded model, and the names that stand for it."""
    service = service_of(request)
    return JSONResponse({"object": "list", "data": [_described(service, name) for name in _names(service)]})


async def audio_models(request: Request) -> JSONResponse:
    """The same names for Open WebUI, which looks for them here."""
    return JSONResponse({"models": [{"id": name, "name": name} for name in _names(service_of(request))]})


async def model(request: Request) -> JSONResponse:
    """One of them."""
    service, name = service_of(request), request.path_params["name"]
    if name not in _names(service):
        raise ModelNotFound(f"there is no model named {name[:64]!r}: GET /v1/models lists them")
    return JSONResponse(_described(service, name))


def _names(service: Service) -> list[str]:
    """The model's own name comes first; it is the engine's until a worker has loaded it."""
    own = service.pool.model_type or service.settings.model.engine
    return [own, *(name for name in MODEL_ALIASES if name != own)]


def _described(service: Service, name: str) -> dict[str, object]:
    return {
        "id": name,
        "object": "model",
        "created": service.started_at,
        "owned_by": "cosyserve",
        "instructions": known_to(service.pool.model_type),
    }


routes = [Route("/v1/audio/speech", speech, methods=["POST"])]
model_routes = [
    Route("/v1/models", models, methods=["GET"]),
    Route("/v1/audio/models", audio_models, methods=["GET"]),
    Route("/v1/models/{name}", model, methods=["GET"]),
]
