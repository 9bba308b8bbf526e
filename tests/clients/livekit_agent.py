"""LiveKit's plugin for OpenAI's speech API: `livekit_agent.py URL MODEL TEXT...`.

Prints a JSON list with the seconds of sound of each text.
"""

import asyncio
import json
import sys

from livekit.agents.utils import http_context
from livekit.plugins import openai


async def say(url: str, model: str, texts: list[str]) -> list[float]:
    """One text after another, as an agent's sentences come."""
    async with http_context.open():
        speech = openai.TTS(base_url=f"{url}/v1", api_key="none", model=model, voice="alloy")
        speech.prewarm()
        seconds = []
        for text in texts:
            frames = [event.frame async for event in speech.synthesize(text)]
            seconds.append(sum(frame.duration for frame in frames))
        await speech.aclose()
        return seconds


print(json.dumps(asyncio.run(say(sys.argv[1], sys.argv[2], sys.argv[3:]))))
