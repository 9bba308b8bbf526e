"""Pipecat's service for OpenAI's speech API in a pipeline: `pipecat_agent.py URL MODEL TEXT...`.

Prints a JSON list with the seconds of sound of each text. Exits with what went wrong where a frame of an error came.
"""

import asyncio
import json
import sys

from pipecat.frames.frames import ErrorFrame, TTSAudioRawFrame, TTSSpeakFrame
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.tests.utils import run_test

RATE = 24_000


async def say(url: str, model: str, texts: list[str]) -> list[float]:
    """Each text in a pipeline of its own."""
    seconds = []
    for text in texts:
        settings = OpenAITTSService.Settings(model=model, voice="alloy")
        service = OpenAITTSService(api_key="none", base_url=f"{url}/v1", settings=settings)
        down, up = await run_test(service, frames_to_send=[TTSSpeakFrame(text)])
        if errors := [frame for frame in [*down, *up] if isinstance(frame, ErrorFrame)]:
            sys.exit(str(errors))
        audio = b"".join(frame.audio for frame in down if isinstance(frame, TTSAudioRawFrame))
        seconds.append(len(audio) / 2 / RATE)
    return seconds


print(json.dumps(asyncio.run(say(sys.argv[1], sys.argv[2], sys.argv[3:]))))
