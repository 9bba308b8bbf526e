"""CosyVoice3's language model against a float64 reference; which ids end its speech; its pauses."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.lm.model import LanguageModel
from cosyserve_workers.native.lm.silence import MOST_IN_A_ROW, SILENT, Silence
from cosyserve_workers.native.lm.weights import END, FILL, SOS, STOP, TASK, load_weights
from cosyserve_workers.native.models import COSYVOICE2, COSYVOICE3, ModelFolder
from tests.model.native.lm.newer_reference import LanguageReference

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(small_checkpoint_3: Path) -> LanguageModel:
    return LanguageModel(load_weights(ModelFolder(small_checkpoint_3, COSYVOICE3), CPU, torch.float32), 4, 256)


@pytest.mark.parametrize(
    ("before", "prompt"), [(27, 60), (7, 0), (20, 0)], ids=["zero_shot", "cross_lingual", "instruct2"]
)
def test_logits_are_the_references_at_every_step(
    model: LanguageModel, small_checkpoint_3: Path, before: int, prompt: int
) -> None:
    generator = torch.Generator().manual_seed(before)
    opening, text = (torch.randint(0, 5000, (count,), generator=generator) for count in (before, 25))
    speech, tokens = (torch.randint(0, STOP, (count,), generator=generator) for count in (prompt, 80))
    wanted = LanguageReference(small_checkpoint_3).scores(torch.cat([opening, text]), speech, tokens)
    scores = [model.prefill([1], [model.embed(opening, text, speech)])]
    scores += [model.decode([1], token[None]) for token in tokens[:-1]]
    model.release(1)
    got = torch.cat(scores).log_softmax(dim=-1)
    kept = wanted > -50
    assert (got - wanted)[kept].abs().max() <= 1e-4 * wanted[kept].abs().max()


def test_every_id_after_the_sounds_ends_the_speech(model: LanguageModel) -> None:
    assert (SOS, END, TASK, FILL) == (6561, 6562, 6563, 6564)
    assert model.stops == range(6561, 6761)
    assert model.sizes.vocab == 6761


def test_the_other_models_weights_are_refused(small_checkpoint: Path, small_checkpoint_3: Path) -> None:
    with pytest.raises(LoadError, match=r"is the language model of CosyVoice2, cosyvoice3.yaml says CosyVoice3"):
        load_weights(ModelFolder(small_checkpoint, COSYVOICE3), CPU, torch.float32)
    with pytest.raises(LoadError, match=r"is the language model of CosyVoice3, cosyvoice2.yaml says CosyVoice2"):
        load_weights(ModelFolder(small_checkpoint_3, COSYVOICE2), CPU, torch.float32)


def test_a_pause_is_cut_after_five_tokens() -> None:
    silence = Silence()
    said = [7, *[1] * 4, 7, *sorted(SILENT), 7, 1, 2]
    kept = [token for token in said if silence.keeps(token)]
    assert kept == [7, *[1] * 4, 7, *sorted(SILENT)[:MOST_IN_A_ROW], 7, 1, 2]
