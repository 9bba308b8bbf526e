"""An answer as server-sent events, OpenAI's: speech.audio.delta with audio inside, then speech.audio.done."""

import base64
import json
from typing import Any

MEDIA_TYPE = "text/event-stream"
EVENTS = AUDIO, DONE = "speech.audio.delta", "speech.audio.done"
TOKENS_PER_SECOND = 25
"""CosyVoice2's speech tokens in a second of audio."""


def audio_event(audio: bytes) -> bytes:
    """A piece of the answer; nothing where it is empty."""
    return _event(AUDIO, {"audio": base64.b64encode(audio).decode()}) if audio else b""


def done_event(text_chars: int, audio_s: float) -> bytes:
    """The end. Usage is counted in characters of text and in CosyVoice2's speech tokens."""
    spoken = round(audio_s * TOKENS_PER_SECOND)
    usage = {"input_tokens": text_chars, "output_tokens": spoken, "total_tokens": text_chars + spoken}
    return _event(DONE, {"usage": usage})


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
