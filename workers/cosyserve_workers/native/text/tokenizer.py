"""Text to the ids that the language model reads: Qwen2's byte-level BPE and the names of sounds."""

import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from cosyserve.protocol import END_OF_PROMPT, SOUNDS
from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.text.pieces import END_OF_SYSTEM, PHONEMES, PINYIN

CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", END_OF_PROMPT)
"""Tokens that steer the model and say nothing. Only we may write them: in a user's text they would end the
instruction early or break off the sentence."""
_CONTROL = re.compile("|".join(re.escape(token) for token in (*CONTROL_TOKENS, END_OF_SYSTEM)))
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen2 cuts text before merging bytes: contractions, words, single digits, runs of marks, blanks."""


def without_control_tokens(text: str) -> str:
    """Put a blank where a control token stood; what is left and right of it cannot join to another one."""
    return _CONTROL.sub(" ", text)


class TextTokenizer:
    """The tokenizer of a model folder's `CosyVoice-BlankEN`. Safe to use from several threads.

    It gives the ids of transformers' Qwen2 tokenizer with the model's special tokens added. newer: whether they are
    CosyVoice3's. marks: whether a text may hold pieces; otherwise they are text. Raises LoadError where a file is
    missing or is not a tokenizer's.
    """

    def __init__(self, folder: Path, *, newer: bool = False, marks: bool = True) -> None:
        self._tokenizer = _read(folder)
        sounds, spelled = (SOUNDS, PHONEMES + PINYIN if newer else ()) if marks else ((), ())
        self.pieces = sounds + spelled
        """What a text may hold that is one token."""
        self.hidden: tuple[str, ...] = sounds + spelled if newer else ()
        """What no normaliser may see, beside phonemes, which none ever does. CosyVoice2's sounds pass through them."""
        # Ids are given in this order, after those the folder's own configuration names.
        added = (*CONTROL_TOKENS, *sounds, *((END_OF_SYSTEM,) if newer else ()), *spelled)
        self._tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in added])
        end_of_prompt = self._tokenizer.token_to_id(END_OF_PROMPT)
        assert end_of_prompt is not None
        self._end_of_prompt: int = end_of_prompt

    @property
    def size(self) -> int:
        """How many ids there are: the text embedding needs at least as many rows."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a user's text: pieces are tokens of their own, control tokens are left out."""
        # Composed first: pieces are looked for before the tokenizer's own normaliser composes anything.
        composed = unicodedata.normalize("NFC", without_control_tokens(text))
        ids: list[int] = self._tokenizer.encode(composed).ids
        return ids

    def encode_instruction(self, instruction: str) -> list[int]:
        """Return the ids of an instruction, `<|endofprompt|>` once and at the end, whether or not the text has it."""
        return [*self.encode(instruction.removesuffix(END_OF_PROMPT)), self._end_of_prompt]


def _read(folder: Path) -> Tokenizer:
    """Build Qwen2's tokenizer from `vocab.json` and `merges.txt`, with the tokens `tokenizer_config.json` adds."""
    vocab, merges, configuration = (folder / name for name in ("vocab.json", "merges.txt", "tokenizer_config.json"))
    for path in (vocab, merges, configuration):
        if not path.is_file():
            raise LoadError(f"{path} is missing: copy the whole model folder")
    try:
        config = json.loads(configuration.read_text("utf-8"))
        tokenizer = Tokenizer(BPE.from_file(str(vocab), str(merges)))
        tokenizer.add_special_tokens(list(_configured(config)))
    except Exception as error:  # tokenizers raises plain Exception for an unreadable file
        raise LoadError(f"the tokenizer in {folder} cannot be read ({error}): copy the model folder again") from error
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=bool(config.get("add_prefix_space")), use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _configured(config: dict[str, dict[str, dict[str, str]]]) -> Iterator[AddedToken]:
    """Yield the tokens that a `tokenizer_config.json` adds, by rising id."""
    for _, token in sorted(config["added_tokens_decoder"].items(), key=lambda item: int(item[0])):
        yield AddedToken(token["content"], normalized=False)
