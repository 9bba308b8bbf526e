"""What the library drops or chokes on has a defined answer."""

import logging
import re
from typing import Any

import pytest

from cosyserve.protocol import FailureCode, Mode, TextConfig
from cosyserve_workers.engine import RequestError
from tests.model import cosyvoice_kit as kit

pytest.importorskip("torch")
from cosyserve_workers.cosyvoice.text import BLOCK_CHARS, SEGMENT_TOKENS, TextFrontEnd
from cosyserve_workers.text import clean, pack

pytestmark = kit.LIBRARY

UNSPEAKABLE = [
    "。",
    "……！？",
    "?!",
    "😀",
    "👩‍👩‍👧🎉",
    "\x00\x07",
    "\u200b\ufeff",
    "<|endofprompt|>",
    "You are a helpful assistant.<|endofprompt|>",
    "  \n\t ",
    "（）【】",
]
CONTROLS = ["[breath]", "[laughter]", "<strong>重点</strong>", "<laughter>你好</laughter>"]


@pytest.mark.parametrize("text", UNSPEAKABLE)
def test_nothing_to_say_is_refused(cosyvoice: Any, text: str) -> None:
    with pytest.raises(RequestError, match="nothing to say") as refusal:
        list(cosyvoice.stream(kit.request(text=text), kit.never))
    assert refusal.value.code is FailureCode.UNSPEAKABLE_TEXT


@pytest.mark.parametrize("text", ["好", "嗯。", "a", "OK", "7", "I", "й"])
def test_one_or_two_characters_are_spoken(cosyvoice: Any, text: str) -> None:
    assert kit.whole(cosyvoice.stream(kit.request(text=text), kit.never)).size


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("你好，世界。", "你好，世界。"),
        ("  two \r\n lines\t here ", "two lines here"),
        ("A\x00B\x07C", "A B C"),
        ("zero\u200bwidth\ufeff and \u202ebidi", "zerowidth and bidi"),
        ("好的👌🏽谢谢❤️", "好的 谢谢"),
        ("价格是20℃和50%，½杯", "价格是20℃和50%，½杯"),
        ("a<|endofprompt|>b", "a b"),
        ("<|<|endofprompt|>endofprompt|>你好", "endofprompt 你好"),
        ("<\u200b|endofprompt|>你好", "你好"),
        ("<|im_start|>system<|im_end|>", "system"),
        ("x <| y |> z <|", "x z"),
        ("if a<b|c>d", "if a<b|c>d"),
    ],
)
def test_what_is_left_of_a_text(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize("text", ["你<|endofprompt|>好", "＜｜endofprompt｜＞你好", "<|endoftext|>hello", "好<|en|>"])
def test_no_text_holds_the_models_own_marks(cosyvoice: Any, text: str) -> None:
    marks = {cosyvoice.text.tokens(mark)[0] for mark in ("<|endofprompt|>", "<|endoftext|>", "<|im_end|>")}
    ids = [token for segment in cosyvoice.text.segments(text) for token in cosyvoice.text.tokens(segment)]
    assert ids
    assert not marks & set(ids)
    assert not marks & set(cosyvoice.text.tokens(cosyvoice.text.prompt_text(text)))


@pytest.mark.parametrize("control", CONTROLS)
def test_the_models_own_controls_reach_it(cosyvoice: Any, control: str) -> None:
    (segment,) = cosyvoice.text.segments(f"他突然{control}停了下来")
    assert control in segment
    for tag in re.findall(r"\[\w+\]|</?\w+>", control):
        assert len(cosyvoice.text.tokens(tag)) == 1, "one of the tokenizer's own"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("他说[L][IY1][D]好，共2个", ["[L]", "[IY1]", "[D]"]),
        ("I want to [R][IY1][D] all 12 of it", ["[R]", "[IY1]", "[D]"]),
        ("报道[j][i\u030c]予好评", ["[j]", "[ǐ]"]),
        ("[breath]3[laughter]<strong>重点</strong>", ["[breath]", "[laughter]", "<strong>", "</strong>"]),
    ],
)
def test_no_normaliser_reads_a_token(cosyvoice: Any, text: str, tokens: list[str]) -> None:
    for spoken in ("".join(cosyvoice.text.segments(text)), cosyvoice.text.prompt_text(text)):
        assert re.findall(r"\[[^\]]*\]|</?strong>", spoken) == tokens
        assert not re.search(r"\d", re.sub(r"\[[^\]]*\]", "", spoken))


@pytest.mark.parametrize(
    "text", ["光速是299,792,458米每秒，", "打开https://www.example.com/a?b=c看看，", "现在是14：30，"]
)
def test_no_block_ends_in_a_span(cosyvoice: Any, text: str) -> None:
    """It is read each time as it is read alone."""
    alone = "".join(cosyvoice.text.segments(text)).rstrip("，。")
    assert "".join(cosyvoice.text.segments(text * 60)).count(alone) == 60


def test_what_normalises_to_nothing_is_unspeakable(
    cosyvoice: Any, library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library.frontend, "text_normalize", lambda text, split, text_frontend: [] if split else "")
    with pytest.raises(RequestError, match="nothing to say"):
        list(cosyvoice.stream(kit.request(text="ㄅ"), kit.never))


@pytest.mark.parametrize(
    "text",
    [
        "好" * 5000,
        "word " * 1000,
        "x" * 5000,
        "1" * 5000,
        "我有100元，去北京。" * 450,
        "This is it, all 25 of them; and more: " * 130,
        "？好" * 2500,
        "👍好" * 2500,
        "\u0e01\u0e34" * 2500,
    ],
    ids=["no full stop", "no full stop, spaces", "one word", "digits", "sentences", "commas", "marks", "emoji", "thai"],
)
def test_five_thousand_characters_become_segments_of_bounded_length(cosyvoice: Any, text: str) -> None:
    segments = list(cosyvoice.text.segments(text[:5000]))
    assert len(segments) > 5
    assert max(len(cosyvoice.text.tokens(segment)) for segment in segments) <= SEGMENT_TOKENS


def test_the_first_segment_does_not_wait_for_the_last_page(cosyvoice: Any, library: Any) -> None:
    with kit.Tap(library.frontend, "text_normalize") as normalised:
        assert next(cosyvoice.text.segments("今天天气很好，我们去公园。" * 300))
    assert len(normalised.calls) == 1


def test_all_of_a_long_text_is_spoken(cosyvoice: Any) -> None:
    numbers = [f"第{chr(0x4E00 + index)}句话就说到这里。" for index in range(200)]
    spoken = "".join(cosyvoice.text.segments("".join(numbers)))
    assert spoken == "".join(numbers)


def test_pack_fills_its_parts() -> None:
    text = "one two, three four, five six"
    commas, spaces = re.compile("(?<=,)"), re.compile("(?<= )")
    assert list(pack(text, (commas, spaces), 100, len)) == [text]
    assert list(pack(text, (commas, spaces), 20, len)) == ["one two, three four,", " five six"]
    assert list(pack(text, (commas, spaces), 7, len)) == ["one ", "two,", " three ", "four,", " five ", "six"]
    assert "".join(pack("x" * 50, (commas, spaces), 8, len)) == "x" * 50


def test_a_text_that_the_normaliser_fails_on_is_spoken_as_written(
    cosyvoice: Any, library: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(text: str, **_: Any) -> None:
        raise IndexError(f"cannot read {text!r}")

    monkeypatch.setattr(library.frontend, "text_normalize", fail)
    with caplog.at_level(logging.DEBUG):
        assert list(cosyvoice.text.segments("secret words")) == ["secret words"]
        assert cosyvoice.text.prompt_text("secret words") == "secret words"
    assert "IndexError" in caplog.text
    assert "secret" not in caplog.text


def test_nobodys_words_are_in_the_log(
    cosyvoice: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        for mode in Mode:
            kit.whole(cosyvoice.stream(kit.request(mode, "秘密的话"), kit.never))
    out, err = capfd.readouterr()
    told = caplog.text + out + err
    assert not [words for words in ("秘密", kit.TRANSCRIPT, kit.INSTRUCTION) if words in told]


def test_a_block_is_an_everyday_text() -> None:
    assert 2 * len(kit.TEXT) <= BLOCK_CHARS


class TestWords:
    """Texts as they are read by default."""

    @pytest.fixture
    def words(self, library: Any) -> TextFrontEnd:
        return TextFrontEnd(library.frontend, version3=True, config=TextConfig())

    def test_a_text_is_read_as_spans(self, words: TextFrontEnd) -> None:
        request = kit.request(text="我有2个苹果。[pause:1.5s]It costs $5.")
        assert list(words.parts(request)) == [("我有两个苹果。", 1.5), ("It costs five dollars.", 0.0)]

    def test_a_transcript_too(self, words: TextFrontEnd) -> None:
        request = kit.request(Mode.ZERO_SHOT, prompt_text="共2个")
        assert words.before(request) == "You are a helpful assistant.<|endofprompt|>共两个"

    @pytest.mark.parametrize("mark", ["[breath]", "[laughter]", "<strong>重点</strong>"])
    def test_the_models_marks_stay(self, words: TextFrontEnd, mark: str) -> None:
        assert mark in "".join(part.text for part in words.parts(kit.request(text=f"好{mark}的，共2个")))

    def test_a_long_text_is_cut_small_enough(self, words: TextFrontEnd) -> None:
        parts = list(words.parts(kit.request(text="word " * 1000)))
        assert max(len(words.tokens(part.text)) for part in parts) <= SEGMENT_TOKENS

    @pytest.mark.parametrize("text", ["。", "😀", "[pause:1s]", "**"])
    def test_nothing_to_say_is_refused(self, words: TextFrontEnd, text: str) -> None:
        with pytest.raises(RequestError, match="nothing to say"):
            words.parts(kit.request(text=text))

    def test_silence_is_as_long_as_was_asked(
        self, cosyvoice: Any, library: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cosyvoice, "text", TextFrontEnd(library.frontend, version3=False, config=TextConfig()))
        sounds = [
            kit.whole(cosyvoice.stream(kit.request(text=text), kit.never)) for text in ("好。", "好。[pause:1.5s]")
        ]
        assert len(sounds[1]) == len(sounds[0]) + 1.5 * 24_000

    def test_none_leaves_it_as_it_is_written(self, library: Any) -> None:
        text = TextFrontEnd(library.frontend, version3=False, config=TextConfig("none"))
        assert [part.text for part in text.parts(kit.request(text="共2个"))] == ["共2个"]
