"""The batched language model, against the CosyVoice library's, and a stream in company against the same one alone."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.lm.attention import KeyValueCache
from cosyserve_workers.native.lm.model import LanguageModel
from cosyserve_workers.native.lm.weights import STOP
from tests.model.conftest import first

CPU = torch.device("cpu")
CONFIG = Path("CosyVoice-BlankEN", "config.json")
MODES = ("zero_shot", "cross_lingual", "instruct2")
pytestmark = pytest.mark.filterwarnings("ignore")  # the library's own, on import


@dataclass
class Input:
    """What a stream begins with."""

    prompt_text: Tensor
    text: Tensor
    prompt_speech: Tensor

    @classmethod
    def draw(cls, mode: str, generator: torch.Generator, text_ids: int = 5000) -> "Input":
        """Random ids of random lengths, in the fields that `mode` uses."""

        def ids(most: int, below: int) -> Tensor:
            count = int(torch.randint(1, most, (1,), generator=generator))
            return torch.randint(0, below, (count,), generator=generator)

        none = torch.zeros(0, dtype=torch.int64)
        return cls(
            prompt_text=none if mode == "cross_lingual" else ids(20, text_ids),
            text=ids(40, text_ids),
            prompt_speech=ids(90, STOP) if mode == "zero_shot" else none,
        )

    def embed(self, model: LanguageModel) -> Tensor:
        return model.embed(self.prompt_text, self.text, self.prompt_speech)


class Forced:
    """A sampler for the library that keeps the scores it is shown and says the tokens it was told to."""

    def __init__(self, tokens: list[int]) -> None:
        self.tokens = tokens
        self.scores: list[Tensor] = []

    def __call__(self, scores: Tensor, decoded: list[int], sampling: int) -> Tensor:
        self.scores.append(scores.clone())
        return torch.tensor(self.tokens[len(self.scores) - 1])


def library_model(folder: Path) -> Any:
    """The library's language model, loaded as its own command does."""
    from hyperpyyaml import load_hyperpyyaml

    with (folder / "cosyvoice2.yaml").open(encoding="utf-8") as file:
        overrides = {"qwen_pretrain_path": str(folder / "CosyVoice-BlankEN"), "flow": None, "hift": None}
        made = load_hyperpyyaml(file, overrides=overrides)["llm"].float().eval()
    made.load_state_dict(torch.load(folder / "llm.pt", map_location="cpu", weights_only=True), strict=True)
    return made


def library_scores(library: Any, stream: Input, tokens: list[int]) -> Tensor:
    """Log-softmaxed scores before each of `tokens`: [steps, vocab]."""
    library.sampling = Forced(tokens)

    def batched(ids: Tensor) -> tuple[Tensor, Tensor]:
        return ids[None], torch.tensor([len(ids)], dtype=torch.int32)

    inputs = (*batched(stream.text), *batched(stream.prompt_text), *batched(stream.prompt_speech))
    said: list[int] = []
    for token in library.inference(*inputs, torch.zeros(0, 192), max_token_text_ratio=1000, min_token_text_ratio=0):
        said.append(token)
        if len(said) == len(tokens):
            break
    assert said == tokens
    return torch.stack(library.sampling.scores)


def our_scores(model: LanguageModel, slot: int, stream: Input, tokens: list[int]) -> Tensor:
    """The same from our model, before its softmax."""
    scores = [model.prefill([slot], [stream.embed(model)])]
    scores += [model.decode([slot], torch.tensor([token])) for token in tokens[:-1]]
    model.release(slot)
    return torch.cat(scores)


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference of log-probabilities, by the largest of those that a draw may meet (above e ** -50)."""
    kept = theirs > -50
    return float((ours.log_softmax(dim=-1) - theirs)[kept].abs().max() / theirs[kept].abs().max())


@pytest.fixture(scope="module")
def library(small_checkpoint: Path, library_path: Path) -> Any:
    return library_model(small_checkpoint)


@pytest.fixture(scope="module")
def loaded(small_checkpoint: Path) -> LanguageModel:
    return LanguageModel.load(small_checkpoint, CPU, torch.float32, slots=10, max_tokens=512)


@pytest.fixture
def model(loaded: LanguageModel) -> Iterator[LanguageModel]:
    yield loaded
    for slot in range(loaded.slots):
        loaded.release(slot)


@pytest.mark.parametrize("mode", first(MODES))
def test_logits_are_the_librarys_at_every_step(mode: str, model: LanguageModel, library: Any) -> None:
    generator = torch.Generator().manual_seed(MODES.index(mode))
    for slot in (0, 7):
        stream = Input.draw(mode, generator)
        tokens = torch.randint(0, STOP, (150,), generator=generator).tolist()
        assert relative_error(our_scores(model, slot, stream, tokens), library_scores(library, stream, tokens)) <= 1e-4


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", MODES)
def test_logits_are_the_librarys_at_full_size(mode: str, full_checkpoint: Path, library_path: Path) -> None:
    generator = torch.Generator().manual_seed(10 + MODES.index(mode))
    stream = Input.draw(mode, generator)
    tokens = torch.randint(0, STOP, (20,), generator=generator).tolist()
    theirs = library_scores(library_model(full_checkpoint), stream, tokens)
    model = LanguageModel.load(full_checkpoint, CPU, torch.float32, slots=2, max_tokens=512)
    assert relative_error(our_scores(model, 1, stream, tokens), theirs) <= 1e-4


def test_a_prefill_in_pieces_is_one_prefill(model: LanguageModel) -> None:
    generator = torch.Generator().manual_seed(20)
    inputs = [Input.draw("zero_shot", generator).embed(model) for _ in range(3)]
    whole = model.prefill([0, 1, 2], inputs)
    for slot, rows in zip((3, 4, 5), inputs, strict=True):
        for start in range(0, len(rows), 13):
            last = model.prefill([slot], [rows[start : start + 13]])
        assert relative_error(last[0], whole[slot - 3].log_softmax(dim=-1)) <= 1e-5


def test_a_stream_being_decoded_may_join_anothers_prefill(model: LanguageModel) -> None:
    generator = torch.Generator().manual_seed(21)
    first, second = (Input.draw("zero_shot", generator).embed(model) for _ in range(2))
    token = torch.tensor([17])
    model.prefill([0, 1], [first, first])
    alone = model.decode([0], token)
    mixed = model.prefill([1, 2], [model.embed_speech(token), second])
    assert relative_error(mixed[:1], alone.log_softmax(dim=-1)) <= 1e-5
    assert relative_error(mixed[1:], model.prefill([3], [second]).log_softmax(dim=-1)) <= 1e-5


def test_a_stream_may_begin_with_what_another_remembers(model: LanguageModel) -> None:
    generator = torch.Generator().manual_seed(22)
    first, other = (Input.draw("zero_shot", generator).embed(model) for _ in range(2))
    second = torch.cat([first[:9], other])
    model.prefill([0], [first])
    wanted = model.prefill([1], [second])
    model.begin(2, model.remembered(0, 9))
    model.release(0)
    got = model.prefill([2], [second[9:]])
    assert relative_error(got, wanted.log_softmax(dim=-1)) <= 1e-5
    token = torch.tensor([17])
    assert relative_error(model.decode([2], token), model.decode([1], token).log_softmax(dim=-1)) <= 1e-5


def test_a_slots_next_stream_knows_nothing_of_the_last(model: LanguageModel) -> None:
    generator = torch.Generator().manual_seed(22)
    tokens = list(range(5))
    stream = Input.draw("zero_shot", generator)
    fresh = our_scores(model, 0, stream, tokens)
    our_scores(model, 1, Input.draw("zero_shot", generator), list(range(100, 200)))
    assert torch.equal(our_scores(model, 1, stream, tokens), fresh)


def test_a_stream_may_fill_its_slot_and_no_more(small_checkpoint: Path) -> None:
    model = LanguageModel.load(small_checkpoint, CPU, torch.float32, slots=1, max_tokens=30)
    model.prefill([0], [torch.zeros(29, model.sizes.hidden)])
    model.decode([0], torch.tensor([1]))
    with pytest.raises(ValueError, match="room for 30"):
        model.decode([0], torch.tensor([1]))


def test_room_that_nobody_uses_takes_no_memory() -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    cache = KeyValueCache((8, 4, 2, 16384, 64), CPU, torch.float32)
    cache.keys[0, 0, 0, :100] = 1.0
    assert cache.keys.nbytes + cache.values.nbytes == 2**29
    assert process.memory_info().rss - before < 2**26
    assert cache.keys.sum() == 6400
    assert not cache.values[7, 3].any()


def test_half_precision_is_close(small_checkpoint: Path, model: LanguageModel) -> None:
    half = LanguageModel.load(small_checkpoint, CPU, torch.bfloat16, slots=1, max_tokens=512)
    stream = Input.draw("zero_shot", torch.Generator().manual_seed(50))
    tokens = list(range(20))
    ours = our_scores(half, 0, stream, tokens)
    assert ours.dtype == torch.float32
    assert relative_error(ours, our_scores(model, 0, stream, tokens).log_softmax(dim=-1)) <= 0.05


def copied(checkpoint: Path, folder: Path) -> Path:
    """A model folder of which tests may spoil the language model."""
    (folder / "CosyVoice-BlankEN").mkdir()
    shutil.copy(checkpoint / "llm.pt", folder)
    shutil.copy(checkpoint / CONFIG, folder / CONFIG)
    return folder


def without_a_tensor(folder: Path) -> None:
    state = torch.load(folder / "llm.pt")
    torch.save({name: tensor for name, tensor in state.items() if "layers.1.mlp.up" not in name}, folder / "llm.pt")


def with_seven_heads(folder: Path) -> None:
    config = folder / CONFIG
    config.write_text(config.read_text().replace('"num_attention_heads": 4', '"num_attention_heads": 7'))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "llm.pt").unlink(), "llm.pt is missing"),
        (lambda folder: os.truncate(folder / "llm.pt", 1_000_000), "llm.pt cannot be read"),
        (lambda folder: os.truncate(folder / "llm.pt", 0), "llm.pt cannot be read"),
        (lambda folder: (folder / "llm.pt").write_text("version https://git-lfs"), "llm.pt cannot be read"),
        (lambda folder: torch.save({"conv.weight": torch.zeros(2)}, folder / "llm.pt"), "not CosyVoice2's language"),
        (lambda folder: torch.save([1, 2], folder / "llm.pt"), "holds no state dict"),
        (without_a_tensor, "layers.1.mlp.up_proj.weight"),
        (lambda folder: (folder / CONFIG).unlink(), "config.json is missing"),
        (lambda folder: (folder / CONFIG).write_text("{}"), "not Qwen2's configuration"),
        (with_seven_heads, "must be of one model"),
    ],
)
def test_a_wrong_file_is_one_clear_line(
    spoil: Callable[[Path], object], message: str, small_checkpoint: Path, tmp_path: Path
) -> None:
    folder = copied(small_checkpoint, tmp_path)
    spoil(folder)
    with pytest.raises(LoadError, match=message) as caught:
        LanguageModel.load(folder, CPU, torch.float32, slots=1, max_tokens=8)
    assert "\n" not in str(caught.value)
