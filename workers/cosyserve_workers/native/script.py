"""A request's text to the language model's input, segment by segment."""

from collections.abc import Iterator
from pathlib import Path

from cosyserve.protocol import FailureCode, Mode, Synthesize, TextConfig, split_system_prompt
from cosyserve_workers.engine import RequestError, nothing_to_say
from cosyserve_workers.native.lm.weights import QWEN_FOLDER
from cosyserve_workers.native.models import COSYVOICE2, COSYVOICE3, Model
from cosyserve_workers.native.networks import MAX_POSITIONS, MAX_SEGMENT_TOKENS
from cosyserve_workers.native.text.segments import CHINESE, TextFrontEnd
from cosyserve_workers.native.text.tokenizer import TextTokenizer
from cosyserve_workers.native.utterances import Segment
from cosyserve_workers.reading import Part, Reader
from cosyserve_workers.text import BORDERS, SYSTEM_PROMPT, clean, is_speakable, pack

BLOCK_CHARS = 300
"""So much is normalised at a time, a millisecond a character on a slow core: the first sound need not wait for the last
page. Whole requests of everyday length fit in."""


class ScriptWriter:
    """Knows a model folder's tokenizer and the rules of text. Safe to use from several threads.

    marks: whether a text may hold sounds, phonemes and pinyin as the model knows them. text: how it is read. Raises
    LoadError where the tokenizer's files are not whole.
    """

    def __init__(self, model_dir: Path, model: Model = COSYVOICE2, *, text: TextConfig, marks: bool = True) -> None:
        self._prompted = model is COSYVOICE3
        """Whether all that the model hears begins with a system prompt."""
        self._tokenizer = TextTokenizer(model_dir / QWEN_FOLDER, newer=model is COSYVOICE3, marks=marks)
        self._upstream = TextFrontEnd(self._tokenizer, normalises=text.normaliser == "wetext")
        kept, newer = self._tokenizer.pieces, model is COSYVOICE3
        self._reader = Reader(text, kept, pinyin=newer and marks) if text.normaliser == "cosyserve" else None

    def read_as(self, text: TextConfig) -> None:
        """Read the texts to come so. Raises LoadError."""
        if self._reader is not None:
            self._reader.read_as(text)

    @property
    def vocabulary(self) -> int:
        """How many ids there are."""
        return self._tokenizer.size

    def segments(self, request: Synthesize, speech_tokens: list[int]) -> Iterator[Segment]:
        """Yield what the language model is given for each segment, made as it is asked for.

        speech_tokens: the prompt's. In the mode zero_shot the model goes on from them, with the prompt's text before
        the text; in instruct2 the instruction is there instead, and in cross_lingual nothing. CosyVoice3 hears a system
        prompt before all else.

        Raises RequestError where there is nothing to say or too much before it; at the end, where nothing is left of it
        by then.
        """
        system, text = split_system_prompt(request.text)
        if not is_speakable(clean(text)):
            raise nothing_to_say()
        before = self._before(request, system)
        continued = speech_tokens if request.mode is Mode.ZERO_SHOT else []
        # The longest segment's text, and half of the positions for what is said of it.
        if len(before) + len(continued) + MAX_SEGMENT_TOKENS > MAX_POSITIONS // 2:
            what = "prompt_text" if request.mode is Mode.ZERO_SHOT else "instruction"
            raise RequestError(
                FailureCode.UNSPEAKABLE_TEXT,
                f"{what} has {len(before)} tokens, more than the model can hear: shorten it",
            )
        return self._script(request, text, before, continued)

    def _before(self, request: Synthesize, system: str) -> list[int]:
        """What stands before the text. system: the system prompt that came with it, "" if none did.

        CosyVoice2 has no system prompt: there, what was sent as one is left out.
        """
        if request.mode is Mode.INSTRUCT2:
            return self._tokenizer.encode_instruction(self._instruction(request.instruction, system))
        own, transcript = split_system_prompt(request.prompt_text)
        said = self._tokenizer.encode(self._line(request, transcript))
        if not self._prompted:
            return said
        return [*self._tokenizer.encode_instruction(clean(own or system) or SYSTEM_PROMPT), *said]

    def _instruction(self, instruction: str, system: str) -> str:
        if not self._prompted:
            return instruction
        wanted = clean(instruction)
        return wanted if wanted.startswith(SYSTEM_PROMPT) else f"{clean(system) or SYSTEM_PROMPT} {wanted}"

    def _line(self, request: Synthesize, transcript: str) -> str:
        if self._reader:
            return self._reader.line(transcript, request)
        return self._upstream.normalise(clean(transcript))

    def _script(self, request: Synthesize, text: str, before: list[int], continued: list[int]) -> Iterator[Segment]:
        spoken = False
        for part in self._parts(request, text):
            pieces = [ids for piece in self._short_enough(part.text) if (ids := self._tokenizer.encode(piece))]
            spoken = spoken or bool(pieces)
            for ids in pieces[:-1]:
                yield Segment(before, ids, continued)
            yield Segment(before, pieces[-1] if pieces else [], continued, part.pause_s)
        if not spoken:
            raise nothing_to_say()

    def _parts(self, request: Synthesize, text: str) -> Iterator[Part]:
        """What is spoken in one go, and the silence behind it; only the first may be nothing but silence."""
        if self._reader:
            yield from self._reader.parts(text, request, self._size)
            return
        for block in pack(clean(text), BORDERS, BLOCK_CHARS, len):
            yield from map(Part, self._upstream.segments(block))

    def _size(self, words: str) -> int:
        """As upstream counts it: characters of a text with Chinese in it, else tokens."""
        return len(words) if CHINESE.search(words) else len(self._tokenizer.encode(words))

    def _short_enough(self, segment: str) -> Iterator[str]:
        """Cut a sentence that the rules leave whole however long it is."""
        return pack(segment, BORDERS[1:], MAX_SEGMENT_TOKENS, lambda part: len(self._tokenizer.encode(part)))
