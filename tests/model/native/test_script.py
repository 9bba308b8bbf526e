"""What CosyVoice3's language model is given, in each mode."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from cosyserve.protocol import END_OF_PROMPT, Mode, Prompt, Synthesize, TextConfig
from cosyserve_workers.engine import RequestError
from cosyserve_workers.native.models import COSYVOICE3
from cosyserve_workers.native.script import ScriptWriter
from cosyserve_workers.native.text.tokenizer import TextTokenizer
from cosyserve_workers.native.utterances import Segment

SPEECH = [5, 6, 7]
PREFIX = "You are a helpful assistant."
SENT = f"You are a poet.{END_OF_PROMPT}"
TEXT = "今天天气很好。"
VOICE = Prompt(np.zeros(24_000, np.float32), 24_000, "digest")
CROSS = Synthesize(1, TEXT, Mode.CROSS_LINGUAL, "", "", VOICE, 1.0, 0)
ZERO = replace(CROSS, mode=Mode.ZERO_SHOT, prompt_text="希望你好。")
INSTRUCT = replace(CROSS, mode=Mode.INSTRUCT2, instruction=f"请用广东话表达。{END_OF_PROMPT}")


@pytest.fixture(scope="module", params=["cosyserve", "wetext"])
def writer(small_checkpoint_3: Path, request: pytest.FixtureRequest) -> ScriptWriter:
    return ScriptWriter(small_checkpoint_3, COSYVOICE3, text=TextConfig(request.param))


@pytest.fixture(scope="module")
def tokenizer(small_checkpoint_3: Path) -> TextTokenizer:
    return TextTokenizer(small_checkpoint_3 / "CosyVoice-BlankEN", newer=True)


def only(writer: ScriptWriter, request: Synthesize) -> Segment:
    (segment,) = writer.segments(request, SPEECH)
    return segment


@pytest.mark.parametrize(
    ("request_", "system", "after"),
    [
        (CROSS, PREFIX, ""),
        (replace(CROSS, text=SENT + TEXT), "You are a poet.", ""),
        (ZERO, PREFIX, "希望你好。"),
        (replace(ZERO, text=SENT + TEXT), "You are a poet.", "希望你好。"),
        (replace(ZERO, prompt_text=SENT + "希望你好。"), "You are a poet.", "希望你好。"),
        (
            replace(ZERO, prompt_text=SENT + "希望你好。", text=f"Other.{END_OF_PROMPT}{TEXT}"),
            "You are a poet.",
            "希望你好。",
        ),
        (INSTRUCT, f"{PREFIX} 请用广东话表达。", ""),
        (replace(INSTRUCT, instruction=f"{PREFIX} 请大声说。{END_OF_PROMPT}"), f"{PREFIX} 请大声说。", ""),
        (replace(INSTRUCT, text=SENT + TEXT), "You are a poet. 请用广东话表达。", ""),
        (replace(INSTRUCT, instruction=f"  请用广东话表达。\n{END_OF_PROMPT}"), f"{PREFIX} 请用广东话表达。", ""),
    ],
)
def test_a_system_prompt_stands_before_all_else(
    writer: ScriptWriter, tokenizer: TextTokenizer, request_: Synthesize, system: str, after: str
) -> None:
    segment = only(writer, request_)
    assert segment.prompt_text == [*tokenizer.encode_instruction(system), *tokenizer.encode(after)]
    assert segment.text == tokenizer.encode(TEXT)
    assert segment.prompt_speech == (SPEECH if request_.mode is Mode.ZERO_SHOT else [])


def test_a_word_in_pieces_reaches_the_model(writer: ScriptWriter, tokenizer: TextTokenizer) -> None:
    segment = only(writer, replace(CROSS, text="报道[j][i\u030c]予。"))
    assert segment.text == [id_ for part in ("报道", "[j]", "[ǐ]", "予。") for id_ in tokenizer.encode(part)]


def test_without_marks_it_is_text(small_checkpoint_3: Path, tokenizer: TextTokenizer) -> None:
    writer = ScriptWriter(small_checkpoint_3, COSYVOICE3, text=TextConfig("wetext"), marks=False)
    segment = only(writer, replace(CROSS, text="报道[j]予。"))
    assert tokenizer.encode("[j]")[0] not in segment.text


def test_a_text_is_read_with_its_silences(small_checkpoint_3: Path, tokenizer: TextTokenizer) -> None:
    writer = ScriptWriter(small_checkpoint_3, COSYVOICE3, text=TextConfig())
    text = "[pause:300ms]我有2个[breath]苹果。[pause:1.5s]nginx costs $5."
    segments = list(writer.segments(replace(CROSS, text=text, pronunciations=(("nginx", "engine x"),)), SPEECH))
    assert [segment.pause_s for segment in segments] == [0.3, 1.5, 0.0]
    spoken = ["", "我有两个[breath]苹果。", "engine x costs five dollars."]
    assert [segment.text for segment in segments] == [tokenizer.encode(words) for words in spoken]


def test_it_is_left_as_it_is_written_where_nobody_shall_read_it(
    small_checkpoint_3: Path, tokenizer: TextTokenizer
) -> None:
    writer = ScriptWriter(small_checkpoint_3, COSYVOICE3, text=TextConfig("none"))
    assert only(writer, replace(CROSS, text="我有2个苹果。")).text == tokenizer.encode("我有2个苹果。")


@pytest.mark.parametrize("normaliser", ["cosyserve", "wetext", "none"])
@pytest.mark.parametrize("text", ["。", "……", "😀", "<|endofprompt|>"])
def test_nothing_to_say(small_checkpoint_3: Path, normaliser: str, text: str) -> None:
    writer = ScriptWriter(small_checkpoint_3, COSYVOICE3, text=TextConfig(normaliser))
    with pytest.raises(RequestError, match="nothing to say"):
        list(writer.segments(replace(CROSS, text=text), SPEECH))
