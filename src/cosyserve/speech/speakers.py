"""The name or the recording in a request to a speaker: the configured voice and its aliases, and the stored ones."""

from cosyserve.errors import UnknownVoice, VoiceNotFound
from cosyserve.protocol import Prompt
from cosyserve.speech.modes import Speaker
from cosyserve.voices.names import DEFAULT_VOICE, STOCK_VOICES, name_key
from cosyserve.voices.prompts import Decoder, Reserve
from cosyserve.voices.store import VoiceStore


class VoiceBook:
    """Looks speakers up. default: the configured one. decoder: for recordings that come with a request."""

    def __init__(self, default: Speaker, store: VoiceStore, decoder: Decoder) -> None:
        self._default = default
        self._store = store
        self._decoder = decoder

    async def find(self, name: str, param: str) -> Speaker:
        """The speaker of that name; "" is the default one. Raises UnknownVoice, UnreadableVoice, Unavailable."""
        if not name or self.is_default(name):
            return self._default
        await self._store.look_for(name)
        try:
            found = self._store.cached_prompt(name)
            if found is None:
                found = await self._store.in_thread(self._store.prompt, name)
        except VoiceNotFound as error:
            raise UnknownVoice(f"{error.message}: GET /v1/audio/voices lists them", param=param) from error
        voice, prompt = found
        return Speaker(voice.name, prompt, voice.instruction, voice.prompt_text)

    async def recorded(self, audio: bytes, param: str, reserve: Reserve | None = None) -> Speaker:
        """A speaker without a name, from a sound file. Raises InvalidPrompt, Unavailable. reserve: as for `Decoder`."""
        return Speaker("", await self._decoder.decode(audio, param, reserve))

    def is_default(self, name: str) -> bool:
        """Whether the configured voice answers to this name: `default` always, OpenAI's while no stored one does."""
        key = name_key(name)
        return key == DEFAULT_VOICE or (key in STOCK_VOICES and self._store.find(name) is None)


def default_speaker(prompt: Prompt | None, instruction: str) -> Speaker:
    """The configured voice. Its transcript is left out: it never selects the mode zero_shot by itself."""
    return Speaker(DEFAULT_VOICE, prompt, instruction)
