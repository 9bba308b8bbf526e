"""Segments and token ids, against the CosyVoice library's own front end."""

import random
import re
from pathlib import Path
from typing import Any

import pytest

from cosyserve.protocol import SOUNDS
from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.text.segments import TextFrontEnd, spell_digits
from cosyserve_workers.native.text.tokenizer import CONTROL_TOKENS, TextTokenizer
from tests.model.texts import TEXTS

QWEN = "CosyVoice-BlankEN"
pytestmark = pytest.mark.filterwarnings("ignore")  # the library's own, on import


@pytest.fixture(scope="module")
def tokenizer(small_checkpoint: Path) -> TextTokenizer:
    return TextTokenizer(small_checkpoint / QWEN)


@pytest.fixture(scope="module")
def front_end(tokenizer: TextTokenizer) -> TextFrontEnd:
    return TextFrontEnd(tokenizer)


@pytest.fixture(scope="module")
def library(small_checkpoint: Path, library_path: Path) -> Any:
    """The library's front end without its ONNX models, which text does not need."""
    import inflect
    import wetext
    from cosyvoice.cli.frontend import CosyVoiceFrontEnd
    from cosyvoice.tokenizer.tokenizer import QwenTokenizer

    made = CosyVoiceFrontEnd.__new__(CosyVoiceFrontEnd)
    made.tokenizer = QwenTokenizer(str(small_checkpoint / QWEN))
    made.allowed_special = "all"
    made.use_ttsfrd = False
    made.zh_tn_model = wetext.Normalizer(remove_erhua=False)
    made.en_tn_model = wetext.Normalizer()
    made.inflect_parser = inflect.engine()
    return made


def test_there_are_a_hundred_texts() -> None:
    assert len(set(TEXTS)) == 100


@pytest.mark.parametrize("power", range(36))
def test_digits_are_read_as_the_library_reads_them(power: int) -> None:
    import inflect

    spell = inflect.engine()
    randomly = random.Random(power)
    for number in (10**power, 10**power + 1, *(randomly.randrange(10**power, 10 ** (power + 1)) for _ in range(20))):
        assert spell_digits(f"x{number}y") == f"x{spell.number_to_words(str(number))}y"


@pytest.mark.parametrize("digits", ["007", "000", "x²", "3²4", "٣٠"])
def test_so_are_odd_ones(digits: str, library: Any) -> None:
    from cosyvoice.utils.frontend_utils import spell_out_number

    assert spell_digits(digits) == spell_out_number(digits, library.inflect_parser)


@pytest.mark.parametrize("digits", ["1" * 37, "1" + "0" * 36])
def test_long_ones_are_read_as_its_figures_one_by_one(digits: str, library: Any) -> None:
    assert spell_digits(digits) == library.inflect_parser.number_to_words(digits, group=1)


@pytest.mark.parametrize("text", TEXTS)
def test_segments_and_ids_are_the_librarys(
    text: str, front_end: TextFrontEnd, tokenizer: TextTokenizer, library: Any
) -> None:
    segments = front_end.segments(text)
    assert segments == library.text_normalize(text, split=True)
    assert [tokenizer.encode(segment) for segment in segments] == [library.tokenizer.encode(s) for s in segments]


@pytest.mark.parametrize("text", TEXTS)
def test_transcripts_are_the_librarys(
    text: str, front_end: TextFrontEnd, tokenizer: TextTokenizer, library: Any
) -> None:
    transcript = front_end.normalise(text)
    assert transcript == library.text_normalize(text, split=False)
    assert tokenizer.encode(text) == library.tokenizer.encode(text)


def test_long_texts_are_split(front_end: TextFrontEnd) -> None:
    assert all(len(front_end.segments(text)) > 1 for text in TEXTS[-2:])


def test_a_short_last_segment_joins_the_one_before(front_end: TextFrontEnd) -> None:
    text = "春" * 70 + "。" + "夏" * 5 + "。"
    assert len(front_end.segments(text + "秋" * 30)) == 2
    assert front_end.segments(text) == [text]


@pytest.mark.parametrize("text", ["", " ", "\n", "...", "！？", "? !", "😀👍", "❤️", "（）", "--- ---", "\ud83d"])
def test_a_text_with_nothing_to_say_has_no_segments(text: str, front_end: TextFrontEnd) -> None:
    assert front_end.segments(text) == []


@pytest.mark.parametrize("text", ["他说[L][IY1][D]好，共2个", "I want to [R][IY1][D] all 12 of it"])
def test_no_normaliser_reads_a_phoneme(text: str, front_end: TextFrontEnd) -> None:
    (segment,) = front_end.segments(text)
    assert "[IY1][D]" in segment
    assert not re.search(r"\d", segment.replace("[IY1]", ""))


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        (".”Quoted", ["Quoted."]),  # the library: pop from empty list
        ("你好——", ["你好 。"]),
        ("（你好） ", ["你好。"]),
        ("a\ud83db", ["ab."]),
        ("Line one\n\nLine 2", ["Line one Line two."]),  # AssertionError in wetext
        ("Two  blanks.  Two.", ["Two blanks. Two."]),
        ("a \r\n b", ["a b."]),
    ],
)
def test_texts_the_library_chokes_on_are_spoken(text: str, segments: list[str], front_end: TextFrontEnd) -> None:
    assert front_end.segments(text) == segments


@pytest.mark.parametrize("figures", [40, 5000])
def test_numbers_without_a_name_are_spelled_digit_by_digit(figures: int) -> None:
    words = spell_digits("4" * figures)
    assert words == ", ".join(["four"] * figures)


def test_an_instruction_ends_with_its_token_once(tokenizer: TextTokenizer, library: Any) -> None:
    expected = library.tokenizer.encode("用四川话说这句话<|endofprompt|>")
    assert tokenizer.encode_instruction("用四川话说这句话<|endofprompt|>") == expected
    assert tokenizer.encode_instruction("用四川话说这句话") == expected
    assert expected.count(expected[-1]) == 1


def test_sounds_are_single_tokens(tokenizer: TextTokenizer, library: Any) -> None:
    for token in SOUNDS:
        assert len(tokenizer.encode(token)) == 1
        assert tokenizer.encode(token) == library.tokenizer.encode(token)
    assert tokenizer.size == len(library.tokenizer.tokenizer)


@pytest.mark.parametrize("control", CONTROL_TOKENS)
@pytest.mark.parametrize(
    "template",
    ["你好{}世界", "Hello {} world", "<|endof{}prompt|> you", "你<|endof`prompt|>好{}", "你＜|endofprompt|＞{}"],
)
def test_users_cannot_write_control_tokens(
    control: str, template: str, front_end: TextFrontEnd, tokenizer: TextTokenizer, library: Any
) -> None:
    forbidden = {library.tokenizer.encode(token)[0] for token in CONTROL_TOKENS}
    text = template.format(control)
    ids = [id_ for segment in front_end.segments(text) for id_ in tokenizer.encode(segment)]
    assert not forbidden & {*ids, *tokenizer.encode(text), *tokenizer.encode(front_end.normalise(text))}
    assert not forbidden & set(tokenizer.encode_instruction(text + "<|endofprompt|>")[:-1])


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer_config.json"])
def test_a_missing_file_is_named(name: str, small_checkpoint: Path, tmp_path: Path) -> None:
    for file in (small_checkpoint / QWEN).iterdir():
        if file.name != name:
            (tmp_path / file.name).symlink_to(file)
    with pytest.raises(LoadError, match=name):
        TextTokenizer(tmp_path)


def test_a_broken_file_is_one_line(small_checkpoint: Path, tmp_path: Path) -> None:
    for file in (small_checkpoint / QWEN).iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "vocab.json").unlink()
    (tmp_path / "vocab.json").write_text("{")
    with pytest.raises(LoadError, match="cannot be read") as caught:
        TextTokenizer(tmp_path)
    assert "\n" not in str(caught.value)
