"""The shapes of bodies, as JSON Schema. Limits, enumerations and OpenAI's body are taken from the code."""

from collections.abc import Iterator
from typing import Any

from cosyserve import errors
from cosyserve.audio.formats import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, AudioFormat
from cosyserve.errors import ServiceError
from cosyserve.http.events import EVENTS
from cosyserve.http.speech_json import SpeechBody
from cosyserve.http.words_json import WordsBody
from cosyserve.pool.status import WorkerState
from cosyserve.settings.sections import Settings
from cosyserve.speech.requests import MAX_SEED, MAX_SPEED, MIN_SPEED
from cosyserve.speech.wording import MAX_JSON_CHARS, MAX_TAG_CHARS
from cosyserve.voices.containers import READ
from cosyserve.voices.names import MAX_NAME_CHARS
from cosyserve.voices.store import MAX_NOTE_CHARS

Schema = dict[str, Any]

EXAMPLE_TEXT = "Welcome! What can I get you?"
REFERENCE = "#/components/schemas/{model}"
ROUTER_CODES = ("not_found", "method_not_allowed")
"""Of the refusals that are the router's own."""


def ref(name: str) -> Schema:
    """A reference to a schema of `components`."""
    return {"$ref": REFERENCE.format(model=name)}


def text(description: str, max_length: int | None = None, min_length: int | None = None) -> Schema:
    """A text field."""
    limits = {"minLength": min_length, "maxLength": max_length}
    return {"type": "string", "description": description, **{k: v for k, v in limits.items() if v is not None}}


def file(description: str) -> Schema:
    """A file in a form."""
    return {"type": "string", "format": "binary", "description": description}


def record(properties: Schema, optional: tuple[str, ...] = (), **more: Any) -> Schema:
    """An object whose properties are all there, but for the optional ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, **({"required": required} if required else {}), **more}


def nullable(kind: str, **more: Any) -> Schema:
    """A value that may be null."""
    return {"type": [kind, "null"], **more}


def components(settings: Settings) -> dict[str, Schema]:
    """Every named schema."""
    speech = SpeechBody.model_json_schema(ref_template=REFERENCE)
    definitions: dict[str, Schema] = speech.pop("$defs")
    longest = min(settings.limits.max_text_chars, speech["properties"]["input"]["maxLength"])
    speech["properties"]["input"].update(maxLength=longest, examples=[EXAMPLE_TEXT])
    words = WordsBody.model_json_schema(ref_template=REFERENCE)
    words["properties"]["text"].update(maxLength=settings.limits.max_text_chars, examples=[EXAMPLE_TEXT])
    return {
        "SpeechBody": speech,
        "WordsBody": words,
        "Words": _words(),
        **definitions,
        "SpeechEvent": record(
            {
                "event": {"enum": list(EVENTS)},
                "data": {"type": "string", "contentMediaType": "application/json"},
            }
        ),
        "Error": _error(),
        "Health": record(
            {
                "status": {"enum": ["ok", "starting", "unavailable", "stopping"]},
                "model_type": nullable("string"),
                "details": record(
                    {
                        "engine": {"type": "string"},
                        "devices": {
                            "type": "array",
                            "items": {"type": "string"},
                            "description": "What the workers that are ready run on.",
                        },
                    }
                ),
            }
        ),
        "Live": record({"status": {"const": "ok"}}),
        "ModelInfo": _model_info(),
        "Model": record(
            {
                "id": {"type": "string"},
                "object": {"const": "model"},
                "created": {"type": "integer"},
                "owned_by": {"type": "string"},
                "instructions": _instructions(),
            }
        ),
        "Models": record({"object": {"const": "list"}, "data": {"type": "array", "items": ref("Model")}}),
        "AudioModels": record(
            {"models": {"type": "array", "items": record({"id": {"type": "string"}, "name": {"type": "string"}})}}
        ),
        "Voice": _voice(),
        "StoredVoice": {"allOf": [ref("Voice"), record({"success": {"const": True}, "voice": ref("Voice")})]},
        "Voices": _voices(),
        "DeletedVoice": record(
            {
                "id": {"type": "string"},
                "object": {"const": "audio.voice.deleted"},
                "deleted": {"const": True},
                "success": {"const": True},
                "message": {"type": "string"},
            }
        ),
        "VoiceUpload": voice_upload(settings),
    }


def speech_fields(settings: Settings) -> Schema:
    """What a form for speech may hold beside the text and the voice."""
    longest = settings.limits.max_text_chars
    return {
        "prompt_wav": file(f"The voice to speak with: {READ}; 1 to 30 s, 16 kHz or more."),
        "prompt_text": text("What is said in the recording.", longest),
        "format": {"enum": list(AudioFormat), "default": AudioFormat.PCM, "description": "The answer's format."},
        **common_fields(),
    }


def common_fields() -> Schema:
    """Those of every form for speech."""
    return {
        "speed": {"type": "number", "minimum": MIN_SPEED, "maximum": MAX_SPEED, "default": 1, "description": "Pace."},
        "seed": {
            "type": "integer",
            "minimum": 0,
            "maximum": MAX_SEED,
            "description": "The same seed gives the same audio; drawn, and told in X-Seed, where it is absent.",
        },
        "sample_rate": {
            "type": "integer",
            "minimum": MIN_SAMPLE_RATE,
            "maximum": MAX_SAMPLE_RATE,
            "description": "Of the answer, in Hz; the model's own where it is absent.",
        },
        "language": text("Of what the text does not tell by itself, such as a bare number: en, zh, pt.", MAX_TAG_CHARS),
        "pronunciations": text("How words of your own are spoken: a JSON object, written to spoken.", MAX_JSON_CHARS),
    }


def voice_upload(settings: Settings) -> Schema:
    """The form that stores a voice."""
    longest = settings.limits.max_text_chars
    return record(
        {
            "name": text("What to call it.", MAX_NAME_CHARS, 1),
            "audio_sample": file(f"The recording: {READ}; 1 to 30 s, 16 kHz or more."),
            "ref_text": text("What is said in it.", longest),
            "instruction": text("How the voice speaks when a request does not say.", longest),
            "speaker_description": text("Kept and shown.", MAX_NOTE_CHARS),
            "consent": text("Kept and shown.", MAX_NOTE_CHARS),
        },
        optional=("ref_text", "instruction", "speaker_description", "consent"),
        description="Also called: prompt_wav (audio_sample), prompt_text (ref_text), instructions, description.",
    )


def error_classes(root: type[ServiceError] = ServiceError) -> Iterator[type[ServiceError]]:
    """Every class of error that a client can be told."""
    for kind in root.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield kind
            yield from error_classes(kind)


def _error() -> Schema:
    kinds: list[type[ServiceError]] = [ServiceError, *error_classes()]
    return record(
        {
            "error": record(
                {
                    "message": {"type": "string"},
                    "type": {"enum": sorted({kind.type for kind in kinds})},
                    "code": {"enum": sorted({*(kind.code for kind in kinds), *ROUTER_CODES})},
                    "param": nullable("string", description="The field at fault."),
                },
                additionalProperties=False,
            )
        },
        additionalProperties=False,
        description="Every error of every route.",
    )


def _instructions() -> Schema:
    one = record({"name": {"type": "string"}, "instruction": {"type": "string"}})
    return {"type": "array", "items": one, "description": "Those that the model is known to follow."}


def _model_info() -> Schema:
    worker = {
        "worker": {"type": "integer"},
        "generation": {"type": "integer", "description": "That it was started for."},
        "state": {"enum": [state.value for state in WorkerState]},
        "device": nullable("string"),
        "pid": nullable("integer"),
        "streams": {"type": "integer"},
        "running": {"type": "integer"},
        "restarts": {"type": "integer"},
        "reason": {"type": "string"},
        "details": {"type": "object", "additionalProperties": {"type": "string"}},
        "counters": {"type": "object", "additionalProperties": {"type": "integer"}},
    }
    return record(
        {
            "model_type": nullable("string"),
            "model_dir": nullable("string"),
            "default_instruction": {"type": "string"},
            "instructions": _instructions(),
            "usage": {"type": "string"},
            "endpoint": {"type": "string"},
            "engine": {"type": "string"},
            "engine_chosen": nullable("string") | {"description": "Why, where model.engine is auto."},
            "note": nullable("string"),
            "status": {"type": "string"},
            "generation": {"type": "integer", "description": "1, and one more with each reload."},
            "sample_rate": nullable("integer"),
            "running": {"type": "integer"},
            "waiting": {"type": "integer"},
            "buffered_bytes": {"type": "integer"},
            "workers": {"type": "array", "items": record(worker)},
        }
    )


def _words() -> Schema:
    span = {
        "start": {"type": "integer", "description": "Of the text's characters."},
        "end": {"type": "integer"},
        "kind": {"type": "string", "description": "word, number, date, ..., dropped, pause."},
        "language": {"type": "string"},
        "spoken": {"type": "string"},
        "pause_s": {"type": "number", "description": "Silence behind it."},
    }
    segment = {"text": {"type": "string"}, "pause_s": {"type": "number"}}
    return record(
        {
            "segments": {"type": "array", "items": record(segment), "description": "What is spoken in one go."},
            "spans": {"type": "array", "items": record(span), "description": "What each part of the text became."},
        }
    )


def _voice() -> Schema:
    return record(
        {
            "id": {"type": "string"},
            "object": {"const": "audio.voice"},
            "type": {"const": "audio_sample"},
            "name": {"type": "string"},
            "created_at": {"type": "integer", "description": "Unix seconds; 0 for the configured voice."},
            "mime_type": nullable("string"),
            "file_size": nullable("integer"),
            "sample_rate": nullable("integer"),
            "duration_s": nullable("number"),
            "ref_text": {"type": "string"},
            "instruction": {"type": "string"},
            "speaker_description": {"type": "string"},
            "consent": {"type": "string"},
        }
    )


def _voices() -> Schema:
    return record(
        {
            "object": {"const": "list"},
            "data": {"type": "array", "items": ref("Voice"), "minItems": 1},
            "first_id": {"type": "string"},
            "last_id": {"type": "string"},
            "has_more": {"const": False},
            "voices": {"type": "array", "items": ref("Voice"), "description": "The same as data."},
            "names": {"type": "array", "items": {"type": "string"}},
            "uploaded_voices": {"type": "array", "items": ref("Voice")},
        }
    )
