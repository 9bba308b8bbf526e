"""CosyVoice3's pieces: through both normalisers untouched, and one id each."""

import unicodedata
from pathlib import Path
from typing import Literal

import pytest

pytest.importorskip("torch")

from cosyserve.protocol import END_OF_PROMPT, SOUNDS
from cosyserve_workers.native.text.pieces import END_OF_SYSTEM, PHONEMES, PINYIN
from cosyserve_workers.native.text.segments import TextFrontEnd
from cosyserve_workers.native.text.tokenizer import TextTokenizer
from cosyserve_workers.text import BORDERS, clean, pack

QWEN = "CosyVoice-BlankEN"
PIECES = (*SOUNDS, *PHONEMES, *PINYIN)


@pytest.fixture(scope="module")
def tokenizer(small_checkpoint_3: Path) -> TextTokenizer:
    return TextTokenizer(small_checkpoint_3 / QWEN, newer=True)


@pytest.fixture(scope="module")
def front_end(tokenizer: TextTokenizer) -> TextFrontEnd:
    return TextFrontEnd(tokenizer)


def test_there_are_280_with_the_control_tokens() -> None:
    assert len({"<|im_start|>", "<|im_end|>", END_OF_PROMPT, END_OF_SYSTEM, *PIECES}) == 280
    assert all(unicodedata.is_normalized("NFC", piece) for piece in PIECES)


def test_each_has_the_id_that_training_gave_it(tokenizer: TextTokenizer) -> None:
    """Counted from `<|endofprompt|>`, which is 151646 in the published vocabulary."""
    (end_of_prompt,) = tokenizer.encode_instruction("")
    published = {"[breath]": 151647, "[mn]": 151662, "[AA]": 151664, "[IY1]": 151713, "[ZH]": 151747}
    published |= {"[a]": 151748, "[ǐ]": 151913, "[ǜ]": 151923}
    found = {piece: tokenizer.encode(piece) for piece in published}
    assert found == {piece: [number - 151646 + end_of_prompt] for piece, number in published.items()}


def test_ids_are_those_of_transformers(tokenizer: TextTokenizer, small_checkpoint_3: Path) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(small_checkpoint_3 / QWEN)
    added = ["<|im_start|>", "<|im_end|>", END_OF_PROMPT, *SOUNDS, END_OF_SYSTEM, *PHONEMES, *PINYIN]
    theirs.add_special_tokens({"eos_token": "<|endoftext|>", "additional_special_tokens": added})
    for text in ("报道[j][ǐ]予，真的。", "I want to [AY1][R][IY1][D] it, 3[breath]5.", "".join(PIECES), "[x1] [uā"):
        assert tokenizer.encode(text) == theirs(text)["input_ids"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_each_piece_is_one_id_composed_or_not(tokenizer: TextTokenizer, form: Literal["NFC", "NFD"]) -> None:
    for piece in PIECES:
        assert len(tokenizer.encode(unicodedata.normalize(form, piece))) == 1, piece


@pytest.mark.parametrize("text", ["他说{}好，是吗", "I said {} to 25 of them", "{}你好", "yes {}"])
def test_normalisers_leave_each_alone(front_end: TextFrontEnd, text: str) -> None:
    for piece in PIECES:
        (segment,) = front_end.segments(clean(text.format(piece)))
        assert segment.count(piece) == 1, piece


def test_a_word_in_pieces_stays_in_order(front_end: TextFrontEnd, tokenizer: TextTokenizer) -> None:
    (segment,) = front_end.segments("读成[L][IY1][D]和[j][ǐ][phone]予。")
    assert segment == "读成[L][IY1][D]和[j][ǐ][phone]予。"
    (segment,) = front_end.segments("I [R][IY1][D] 2 books.")
    assert segment == "I [R][IY1][D] two books."


def test_no_control_token_is_the_users(tokenizer: TextTokenizer) -> None:
    assert tokenizer.encode(f"a{END_OF_SYSTEM}b") == tokenizer.encode("a b")


def test_without_marks_a_bracket_is_text(small_checkpoint_3: Path, tokenizer: TextTokenizer) -> None:
    plain = TextTokenizer(small_checkpoint_3 / QWEN, newer=True, marks=False)
    assert plain.encode_instruction("x")[-1] == tokenizer.encode_instruction("x")[-1]
    for piece in ("[a]", "[breath]", "[IY1]", "[ǐ]"):
        assert len(plain.encode(piece)) > 1


@pytest.mark.parametrize("text", ["好[j][ǐ]" * 40, "[uāng]" * 60])
def test_no_piece_is_cut(text: str) -> None:
    parts = list(pack(text, BORDERS, 30, len))
    assert len(parts) > 3
    assert "".join(parts) == text
    assert all(part.count("[") == part.count("]") for part in parts)
