"""A model that would stop at once: speech has its least length all the same, whichever token ends it."""

from typing import Any

import pytest

from tests.model import cosyvoice_kit as kit

torch = pytest.importorskip("torch")
pytestmark = kit.LIBRARY

STOPS = [6561, 6562, 6563]


@pytest.mark.parametrize("stop", STOPS)
def test_twice_as_many_tokens_as_the_text(
    cosyvoice: Any, library: Any, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    head = library.model.llm.llm_decoder
    wanting = head.bias.detach().clone()
    wanting[stop] += 1000.0
    monkeypatch.setattr(head, "bias", torch.nn.Parameter(wanting))
    with kit.Tap(library.model.llm, "inference") as words, kit.Tap(library.model.flow, "inference") as sounds:
        sound = kit.whole(cosyvoice.stream(kit.request(text=kit.SHORT), kit.never))
    least = 2 * words.calls[0]["text"].shape[1]
    tokens = sounds.calls[-1]["token"][0].tolist()
    assert len(tokens) == least
    assert not set(tokens) & set(STOPS)
    assert len(sound) == 960 * least
