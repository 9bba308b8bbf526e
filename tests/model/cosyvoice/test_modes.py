"""What reaches the model is what the library's own call would send: for each mode, with the same inputs."""

from typing import Any

import pytest

from cosyserve.protocol import Mode, TextConfig
from tests.model import cosyvoice_kit as kit
from tests.model.conftest import first

torch = pytest.importorskip("torch")
pytestmark = kit.LIBRARY

SEED = 11
MODES = list(Mode)


def library_call(library: Any, mode: Mode, text: str, *, stream: bool) -> None:
    """The library's own inference, to its end. This snapshot appends the end of the instruction by itself."""
    heard = torch.from_numpy(kit.prompt().samples)[None]
    torch.manual_seed(SEED)
    match mode:
        case Mode.ZERO_SHOT:
            chunks = library.inference_zero_shot(text, kit.TRANSCRIPT, heard, stream=stream)
        case Mode.CROSS_LINGUAL:
            chunks = library.inference_cross_lingual(text, heard, stream=stream)
        case Mode.INSTRUCT2:
            chunks = library.inference_instruct2(text, kit.INSTRUCTION, heard, stream=stream)
    assert sum(chunk["tts_speech"].shape[1] for chunk in chunks)


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    for name, value in theirs.items():
        if torch.is_tensor(value):
            assert ours[name].shape == value.shape, name
            assert torch.equal(ours[name].to(value.dtype), value), name
        elif name != "uuid":
            assert ours[name] == value, name


@pytest.mark.parametrize("mode", first(MODES))
def test_the_language_model_and_the_flow_get_what_the_library_would_give_them(
    cosyvoice: Any, library: Any, mode: Mode
) -> None:
    model = library.model
    with kit.Tap(model.llm, "inference") as words, kit.Tap(model.flow, "inference") as sounds:
        library_call(library, mode, kit.TEXT, stream=False)
        their_words, their_sounds = words.calls.copy(), sounds.calls.copy()
        kit.whole(cosyvoice.stream(kit.request(mode, seed=SEED), kit.never))
    our_words, our_sounds = words.calls[len(their_words) :], sounds.calls[len(their_sounds) :]
    assert len(our_words) == len(their_words) == 1
    assert_same(our_words[0], their_words[0])
    # All of the segment's tokens: the last call of a stream, the only one of a call that does not stream.
    assert len(our_sounds) > len(their_sounds) == 1
    assert_same(our_sounds[-1], their_sounds[0])


@pytest.mark.parametrize(
    "mode", [mode if mode is Mode.ZERO_SHOT else pytest.param(mode, marks=pytest.mark.full) for mode in MODES]
)
def test_a_streams_first_chunk_is_what_the_library_would_stream(cosyvoice: Any, library: Any, mode: Mode) -> None:
    with kit.Tap(library.model.flow, "inference") as sounds:
        library_call(library, mode, kit.TEXT, stream=True)
        theirs = sounds.calls.copy()
        kit.whole(cosyvoice.stream(kit.request(mode, seed=SEED), kit.never))
    assert_same(sounds.calls[len(theirs)], theirs[0])


def test_a_long_text_is_cut_as_the_library_cuts_it(cosyvoice: Any, library: Any) -> None:
    text = "".join(f"这是第{number}句话，它不长也不短，只是为了凑够字数而写的。" for number in range(1, 7))
    assert list(cosyvoice.text.segments(text)) == library.frontend.text_normalize(text)


@pytest.mark.parametrize("instruction", ["用四川话说", "用四川话说<|endofprompt|>", "用<|endofprompt|>四川话说"])
def test_the_instruction_ends_once(cosyvoice: Any, library: Any, instruction: str) -> None:
    mark = cosyvoice.text.tokens("<|endofprompt|>")
    assert len(mark) == 1
    with kit.Tap(library.model.llm, "inference") as words:
        kit.whole(cosyvoice.stream(kit.request(Mode.INSTRUCT2, kit.SHORT, instruction=instruction), kit.never))
    ids = words.calls[0]["prompt_text"][0].tolist()
    assert ids.count(mark[0]) == 1
    assert ids[-1] == mark[0]


def test_cosyvoice3_gets_its_system_prompt_once_in_every_mode(library: Any) -> None:
    from cosyserve_workers.cosyvoice.text import TextFrontEnd

    text = TextFrontEnd(library.frontend, version3=True, config=TextConfig("wetext"))
    assert text.system_prompt() == "You are a helpful assistant.<|endofprompt|>"
    assert text.prompt_text("你好。") == "You are a helpful assistant.<|endofprompt|>你好。"
    assert text.instruction("用四川话说<|endofprompt|>") == "You are a helpful assistant. 用四川话说<|endofprompt|>"
    begun = "You are a helpful assistant. 用四川话说"
    assert text.instruction(begun) == f"{begun}<|endofprompt|>"


SYSTEM_PROMPT = "You are a helpful assistant."


@pytest.mark.parametrize("sent", first(["", "You are a helpful assistant. 请用广东话表达。", SYSTEM_PROMPT, " "], 2))
@pytest.mark.parametrize("mode", MODES)
def test_upstreams_own_inputs_for_cosyvoice3(
    cosyvoice: Any, library: Any, monkeypatch: pytest.MonkeyPatch, mode: Mode, sent: str
) -> None:
    """What the language model is given is the system prompt, once, and nothing of it is in the text."""
    from cosyserve_workers.cosyvoice.text import TextFrontEnd

    monkeypatch.setattr(cosyvoice, "text", TextFrontEnd(library.frontend, version3=True, config=TextConfig("wetext")))
    ids = cosyvoice.text.tokens
    system_prompt = f"{sent.strip() or SYSTEM_PROMPT}<|endofprompt|>"
    marked = f"{sent}<|endofprompt|>"
    changes = {"prompt_text": f"{marked}{kit.TRANSCRIPT}"} if mode is Mode.ZERO_SHOT else {}
    text = kit.SHORT if mode is Mode.ZERO_SHOT else f"{marked}{kit.SHORT}"
    with kit.Tap(library.model.llm, "inference") as words:
        kit.whole(cosyvoice.stream(kit.request(mode, text, **changes), kit.never))
    before = {
        Mode.ZERO_SHOT: f"{system_prompt}{kit.TRANSCRIPT}",
        Mode.CROSS_LINGUAL: system_prompt,
        Mode.INSTRUCT2: f"{system_prompt.removesuffix('<|endofprompt|>')} {kit.INSTRUCTION}<|endofprompt|>",
    }
    assert words.calls[0]["prompt_text"][0].tolist() == ids(before[mode])
    assert words.calls[0]["text"][0].tolist() == ids(kit.SHORT)


@pytest.mark.parametrize("mode", first(MODES))
def test_cosyvoice2_has_no_system_prompt(cosyvoice: Any, library: Any, mode: Mode) -> None:
    marked = f"{SYSTEM_PROMPT}<|endofprompt|>"
    changes = {"prompt_text": f"{marked}{kit.TRANSCRIPT}"} if mode is Mode.ZERO_SHOT else {}
    with kit.Tap(library.model.llm, "inference") as words:
        kit.whole(cosyvoice.stream(kit.request(mode, kit.SHORT), kit.never))
        kit.whole(cosyvoice.stream(kit.request(mode, f"{marked}{kit.SHORT}", **changes), kit.never))
    plain, sent = words.calls
    for name in ("prompt_text", "text"):
        assert torch.equal(sent[name], plain[name])
