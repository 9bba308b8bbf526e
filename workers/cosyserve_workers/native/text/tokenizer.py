"""Text to the ids that CosyVoice2's language model reads: Qwen2's byte-level BPE and the names of sounds."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from cosyserve.protocol import END_OF_PROMPT
from cosyserve_workers.engine import LoadError

CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", END_OF_PROMPT)
"""Tokens that steer the model and say nothing. Only we may write them: in a user's text they would end the
instruction early or break off the sentence."""
SOUND_TOKENS = (
    "[breath]",
    "<strong>",
    "</strong>",
    "[noise]",
    "[laughter]",
    "[cough]",
    "[clucking]",
    "[accent]",
    "[quick_breath]",
    "<laughter>",
    "</laughter>",
    "[hissing]",
    "[sigh]",
    "[vocalized-noise]",
    "[lipsmack]",
    "[mn]",
)
"""Sounds and stresses that anyone may write. Their order gives their ids (upstream: `CosyVoice2Tokenizer`)."""

_CONTROL = re.compile("|".join(re.escape(token) for token in CONTROL_TOKENS))
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

    It gives the ids of transformers' Qwen2 tokenizer with CosyVoice2's special tokens added. Raises LoadError where a
    file is missing or is not a tokenizer's.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer = _read(folder)
        # Ids are given in this order, after those the folder's own configuration names.
        added = (*CONTROL_TOKENS, *SOUND_TOKENS)
        self._tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in added])
        end_of_prompt = self._tokenizer.token_to_id(END_OF_PROMPT)
        assert end_of_prompt is not None
        self._end_of_prompt: int = end_of_prompt

    @property
    def size(self) -> int:
        """How many ids there are: the text embedding needs at least as many rows."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a user's text: sounds are tokens of their own, control tokens are left out."""
        ids: list[int] = self._tokenizer.encode(without_control_tokens(text)).ids
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
