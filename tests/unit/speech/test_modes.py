"""The mode table, line by line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosyserve.protocol import END_OF_PROMPT, Mode
from cosyserve.speech.modes import Conditioning, Speaker, choose_mode

SENT = Speaker("", None)
CONFIGURED = Speaker("default", None, "请温柔地说")
PLAIN = Speaker("bob", None)
WITH_TEXT = Speaker("bob", None, "", "希望你以后")
WITH_INSTRUCTION = Speaker("bob", None, "大声点")
WITH_BOTH = Speaker("bob", None, "大声点", "希望你以后")


def instruct2(words: str) -> Conditioning:
    return Conditioning(Mode.INSTRUCT2, instruction=words + END_OF_PROMPT)


def zero_shot(text: str) -> Conditioning:
    return Conditioning(Mode.ZERO_SHOT, prompt_text=text)


CROSS_LINGUAL = Conditioning(Mode.CROSS_LINGUAL)


@pytest.mark.parametrize(
    ("instruction", "prompt_text", "speaker", "expected"),
    [
        ("", "", CONFIGURED, instruct2("请温柔地说")),
        ("", "", SENT, CROSS_LINGUAL),
        ("", "", PLAIN, CROSS_LINGUAL),
        ("", "", WITH_TEXT, zero_shot("希望你以后")),
        ("", "", WITH_INSTRUCTION, instruct2("大声点")),
        ("", "", WITH_BOTH, instruct2("大声点")),
        *(("", "你好", speaker, zero_shot("你好")) for speaker in (CONFIGURED, SENT, PLAIN, WITH_TEXT, WITH_BOTH)),
        *(("快说", "", speaker, instruct2("快说")) for speaker in (CONFIGURED, SENT, PLAIN, WITH_TEXT, WITH_BOTH)),
        *(("快说", "你好", speaker, instruct2("快说")) for speaker in (CONFIGURED, SENT, PLAIN, WITH_TEXT, WITH_BOTH)),
    ],
)
def test_table(instruction: str, prompt_text: str, speaker: Speaker, expected: Conditioning) -> None:
    assert choose_mode(instruction, prompt_text, speaker) == expected


@pytest.mark.parametrize(
    ("asked", "instruction", "prompt_text", "speaker", "expected"),
    [
        (Mode.CROSS_LINGUAL, "快说", "你好", WITH_BOTH, CROSS_LINGUAL),
        (Mode.ZERO_SHOT, "快说", "你好", WITH_BOTH, zero_shot("你好")),
        (Mode.ZERO_SHOT, "快说", "", WITH_BOTH, zero_shot("希望你以后")),
        (Mode.ZERO_SHOT, "快说", "", WITH_INSTRUCTION, None),
        (Mode.INSTRUCT2, "快说", "你好", WITH_BOTH, instruct2("快说")),
        (Mode.INSTRUCT2, "", "你好", WITH_BOTH, instruct2("大声点")),
        (Mode.INSTRUCT2, "", "你好", WITH_TEXT, None),
    ],
)
def test_a_mode_that_is_asked_for(
    asked: Mode, instruction: str, prompt_text: str, speaker: Speaker, expected: Conditioning | None
) -> None:
    assert choose_mode(instruction, prompt_text, speaker, asked) == expected


@pytest.mark.parametrize("default", ["", "  \n"])
def test_no_default_instruction(default: str) -> None:
    assert choose_mode("", "", Speaker("default", None, default)) == CROSS_LINGUAL


@pytest.mark.parametrize("rest", ["", "  "])
def test_a_system_prompt_is_no_transcript(rest: str) -> None:
    alone = f"You are a helpful assistant.{END_OF_PROMPT}{rest}"
    assert choose_mode("", alone, SENT) == CROSS_LINGUAL
    assert choose_mode("", alone, SENT, Mode.ZERO_SHOT) is None
    assert choose_mode("", alone, WITH_TEXT) == zero_shot("希望你以后")
    assert choose_mode("", f"{alone}你好", SENT) == zero_shot(f"{alone}你好")


@given(st.text(min_size=1).filter(str.strip), st.booleans())
def test_an_instruction_is_marked_once(words: str, marked: bool) -> None:
    words = words.replace(END_OF_PROMPT, "") or "x"
    assert choose_mode(words + END_OF_PROMPT * marked, "", SENT) == instruct2(words)
