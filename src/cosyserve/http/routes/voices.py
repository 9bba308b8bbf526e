"""/v1/audio/voices: store, list, hear and delete voices.

The names of fields and the shapes of answers are OpenAI's and vLLM-Omni's at once, so that clients of either work.
"""

from typing import Any

import anyio.to_thread
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cosyserve.errors import InvalidField, InvalidVoiceName, VoiceNotFound
from cosyserve.http.forms import read_form
from cosyserve.http.ranges import ranged
from cosyserve.http.routes.methods import by_method
from cosyserve.http.service import Service, service_of
from cosyserve.speech.fields import SHORT_CHARS, Form, file_field, text_field
from cosyserve.speech.intake import Intake
from cosyserve.voices.containers import container_of
from cosyserve.voices.files import Voice
from cosyserve.voices.names import DEFAULT_VOICE, MAX_SENT_CHARS, name_key
from cosyserve.voices.store import MAX_NOTE_CHARS, Upload

PATH = "/v1/audio/voices"
AUDIO_NAMES = ("audio_sample", "prompt_wav")
PROMPT_TEXT_NAMES = ("ref_text", "prompt_text")
INSTRUCTION_NAMES = ("instruction", "instructions")
DESCRIPTION_NAMES = ("speaker_description", "description")
NOT_PUBLIC = {"ref_text": "", "instruction": "", "speaker_description": "", "consent": ""}
"""What `server.public_names` does not open: all that people have written about a voice."""

log = structlog.get_logger(__name__)


async def list_voices(request: Request) -> JSONResponse:
    """The configured voice, then the stored ones."""
    service = service_of(request)
    stored = [_described(voice) for voice in service.voices.listing()]
    data = [_described_default(service), *stored]
    if _is_stranger(request):
        data = [{**voice, **NOT_PUBLIC} for voice in data]
    listing = {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"],
        "last_id": data[-1]["id"],
        "has_more": False,
        "voices": data,
        "names": [voice["id"] for voice in data],
        "uploaded_voices": data[1:],
    }
    # Megabytes, where there are many voices with long texts.
    return await anyio.to_thread.run_sync(JSONResponse, listing)


async def create_voice(request: Request) -> JSONResponse:
    """Answered when the voice is on the disk."""
    service, intake = service_of(request), Intake.of(request.scope)
    form = await read_form(request, service.body_limits, intake)
    upload = await _read_upload(form, service.settings.limits.max_text_chars)
    voice = await service.voices.in_thread(service.voices.add, upload, intake.take)
    log.info("voice stored", voice=voice.name, bytes=voice.size, duration_s=voice.duration_s)
    described = _described(voice)
    return JSONResponse({**described, "success": True, "voice": described}, 201)


async def get_voice(request: Request) -> JSONResponse:
    """One voice."""
    service, name = service_of(request), request.path_params["name"]
    await service.voices.look_for(name)
    if service.speakers.is_default(name):
        return JSONResponse(_described_default(service))
    voice = service.voices.find(name)
    if voice is None:
        raise VoiceNotFound(f"there is no voice named {name[:64]!r}")
    return JSONResponse(_described(voice))


async def get_audio(request: Request) -> Response:
    """The audio that a voice was made from, as it was uploaded."""
    service, name = service_of(request), request.path_params["name"]
    await service.voices.look_for(name)
    if service.speakers.is_default(name):
        media_type, audio = await anyio.to_thread.run_sync(_default_audio, service)
    else:
        voice, audio = await anyio.to_thread.run_sync(service.voices.audio, name)
        media_type = voice.media_type
    # Strangers uploaded it: no browser may take it for anything but sound.
    headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox", "Cache-Control": "no-store"}
    return ranged(request.headers, audio, media_type, headers)


async def delete_voice(request: Request) -> JSONResponse:
    """Running requests that speak with it finish."""
    service, name = service_of(request), request.path_params["name"]
    if name_key(name) == DEFAULT_VOICE:
        raise InvalidVoiceName(f"{DEFAULT_VOICE!r} is the configured voice: it cannot be deleted", param="name")
    await service.voices.look_for(name)
    voice = await anyio.to_thread.run_sync(service.voices.delete, name)
    log.info("voice deleted", voice=voice.name)
    return JSONResponse(
        {
            "id": voice.name,
            "object": "audio.voice.deleted",
            "deleted": True,
            "success": True,
            "message": f"Voice {voice.name!r} deleted",
        }
    )


async def _read_upload(form: Form, max_text_chars: int) -> Upload:
    if text_field(form, "type", SHORT_CHARS) not in ("", "audio_sample"):
        raise InvalidField("type must be audio_sample: voices are made from a recording here", param="type")
    audio_name = next((name for name in AUDIO_NAMES if name in form), AUDIO_NAMES[0])
    upload = Upload(
        name=text_field(form, "name", MAX_SENT_CHARS),
        audio=await file_field(form, audio_name) or b"",
        prompt_text=_first(form, PROMPT_TEXT_NAMES, max_text_chars),
        instruction=_first(form, INSTRUCTION_NAMES, max_text_chars),
        description=_first(form, DESCRIPTION_NAMES, MAX_NOTE_CHARS),
        consent=_first(form, ("consent",), MAX_NOTE_CHARS),
        param=audio_name,
    )
    if not upload.name:
        raise InvalidField("name is missing or empty", param="name")
    if not upload.audio:
        raise InvalidField(f"{audio_name} is missing: send the recording as a file", param=audio_name)
    return upload


def _first(form: Form, names: tuple[str, ...], max_chars: int) -> str:
    """The first of the names that is filled in."""
    return next((text for name in names if (text := text_field(form, name, max_chars))), "")


def _is_stranger(request: Request) -> bool:
    """Whether it came without a key where others have one."""
    return bool(service_of(request).keys) and "key_name" not in request.scope["state"]


def _described(voice: Voice) -> dict[str, Any]:
    return {
        "id": voice.name,
        "object": "audio.voice",
        "type": "audio_sample",
        "name": voice.name,
        "created_at": voice.created_at,
        "mime_type": voice.media_type,
        "file_size": voice.size,
        "sample_rate": voice.sample_rate,
        "duration_s": voice.duration_s,
        "ref_text": voice.prompt_text,
        "instruction": voice.instruction,
        "speaker_description": voice.description,
        "consent": voice.consent,
    }


def _described_default(service: Service) -> dict[str, Any]:
    """`created_at` is 0: it was not stored. Its file is None where no prompt is configured."""
    prompt = service.default.prompt
    return {
        "id": DEFAULT_VOICE,
        "object": "audio.voice",
        "type": "audio_sample",
        "name": DEFAULT_VOICE,
        "created_at": 0,
        "mime_type": None,
        "file_size": None,
        "sample_rate": prompt and prompt.sample_rate,
        "duration_s": prompt and round(prompt.duration_s, 3),
        "ref_text": service.settings.defaults.prompt_text,
        "instruction": service.default.instruction,
        "speaker_description": "the configured voice",
        "consent": "",
    }


def _default_audio(service: Service) -> tuple[str, bytes]:
    path = service.settings.defaults.prompt_wav
    try:
        if service.default.prompt is None or path is None:
            raise FileNotFoundError
        audio = path.read_bytes()
        return container_of(audio).media_type, audio
    except OSError as error:
        raise VoiceNotFound("the configured voice has no audio: defaults.prompt_wav names no file") from error


routes = [
    by_method(PATH, GET=list_voices, POST=create_voice),
    by_method(f"{PATH}/{{name}}", GET=get_voice, DELETE=delete_voice),
    Route(f"{PATH}/{{name}}/audio", get_audio, methods=["GET"]),
]
