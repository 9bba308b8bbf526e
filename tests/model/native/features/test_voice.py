"""A prompt's features against those of the library's own front end.

Its snapshot takes audio at 16 kHz and makes the mel of that too; later ones make it of the recording at 24 kHz, and so
do we. So the library is asked twice: for tokens and speaker, and for the mel of what it would resample today.
"""

import importlib
import resource
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch")
import torch
from torch import Tensor

from cosyserve.protocol import FailureCode, Prompt
from cosyserve.voices.decoding import decode
from cosyserve_workers.engine import LoadError, RequestError
from cosyserve_workers.native.features import spectra
from cosyserve_workers.native.features.onnx_models import SPEAKER_FILE
from cosyserve_workers.native.features.voice import FeatureExtractor, VoiceFeatures
from cosyserve_workers.native.models import COSYVOICE2, COSYVOICE3, Model
from cosyserve_workers.resampling import resample
from tests import sounds
from tests.model.conftest import ROOT

TOLERANCE = 1e-4
CPU = torch.device("cpu")
TOKENIZER_FILE = COSYVOICE2.speech_tokenizer
VOICES = {
    "the default prompt": None,
    "16 kHz": (3.3, 16_000),
    "22.05 kHz": (2.71, 22_050),
    "24 kHz": (4.0, 24_000),
    "44.1 kHz": (5.123, 44_100),
    "48 kHz": (3.999, 48_000),
    "the shortest": (1.0, 16_000),
    "the shortest at 48 kHz": (1.0, 48_000),
    "near the longest": (29.9, 24_000),
    "the longest": (30.0, 44_100),
}
pytestmark = [
    # The library's own, on import and in its modules.
    pytest.mark.filterwarnings("ignore:::(?!cosyserve|tests)"),
    pytest.mark.timeout(600),
]


class Pair(NamedTuple):
    """Our extractor, and the library's front end on the same folder."""

    ours: FeatureExtractor
    library: Any

    def theirs(self, prompt: Prompt) -> VoiceFeatures:
        """What the library hands its models."""
        given = self.library.frontend_zero_shot("", "", heard_by_library(prompt), spectra.MEL_RATE, "")
        mel, _ = self.library._extract_speech_feat(heard_by_library(prompt, spectra.MEL_RATE))
        tokens = given["flow_prompt_speech_token"][0]
        count = min(mel.shape[1] // 2, len(tokens))
        return VoiceFeatures(
            speech_tokens=tokens[:count],
            mel=mel[0, : 2 * count],
            embedding=given["flow_embedding"][0],
        )


def make_pair(folder: Path, model: Model = COSYVOICE2) -> Pair:
    from cosyvoice.cli.frontend import CosyVoiceFrontEnd
    from hyperpyyaml import load_hyperpyyaml  # type: ignore[import-untyped]

    # The snapshot does not know that tokenizers have versions, and features hear no text.
    yaml = (folder / model.yaml).read_text("utf-8").replace("    version: cosyvoice3\n", "")
    # The file begins with seeds of everything and ends with the front end; the networks between are not needed.
    text = yaml[yaml.index("sample_rate:") : yaml.index("llm: ")] + yaml[yaml.index("get_tokenizer: ") :]
    parts = load_hyperpyyaml(text, overrides={"qwen_pretrain_path": str(folder / "CosyVoice-BlankEN")})
    library = CosyVoiceFrontEnd(
        parts["get_tokenizer"],
        parts["feat_extractor"],
        str(folder / "campplus.onnx"),
        str(folder / model.speech_tokenizer),
    )
    return Pair(FeatureExtractor.load(folder, CPU, model), library)


@pytest.fixture(scope="module")
def pair(small_checkpoint: Path, library_path: Path) -> Pair:
    return make_pair(small_checkpoint)


@pytest.fixture(scope="module")
def pair_3(small_checkpoint_3: Path, library_path: Path) -> Pair:
    return make_pair(small_checkpoint_3, COSYVOICE3)


@pytest.fixture(scope="module")
def full_pair(full_checkpoint: Path, library_path: Path) -> Pair:
    return make_pair(full_checkpoint)


@pytest.fixture(params=VOICES.values(), ids=list(VOICES))
def prompt(request: pytest.FixtureRequest) -> Prompt:
    if request.param is None:
        decoded = decode((ROOT / "asset" / "zero_shot_prompt.wav").read_bytes())
        assert not isinstance(decoded, str)
        return make_prompt(np.frombuffer(decoded[0], np.float32), decoded[1])
    seconds, rate = request.param
    return make_prompt(sounds.voice(seconds, rate), rate)


def make_prompt(samples: NDArray[np.float32], rate: int = 16_000) -> Prompt:
    return Prompt(samples, rate, "a digest")


def heard_by_library(prompt: Prompt, rate: int = 16_000) -> Tensor:
    """[1, n] at `rate`, resampled by the transform that the library's `load_wav` uses."""
    from torchaudio.transforms import Resample

    resampled: Tensor = Resample(prompt.sample_rate, rate)(torch.from_numpy(prompt.samples.copy())[None])
    return resampled


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    assert ours.dtype == theirs.dtype == torch.float32
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= TOLERANCE * theirs.abs().max()


def assert_same_features(ours: VoiceFeatures, theirs: VoiceFeatures) -> None:
    assert ours.speech_tokens.dtype == torch.int64
    assert ours.speech_tokens.tolist() == theirs.speech_tokens.tolist()
    assert ours.mel.shape == (2 * len(ours.speech_tokens), 80)
    assert ours.embedding.shape == (192,)
    assert_same(ours.mel, theirs.mel)
    assert_same(ours.embedding, theirs.embedding)


def test_features_are_the_librarys(pair: Pair, prompt: Prompt) -> None:
    ours = pair.ours.extract(prompt)
    assert_same_features(ours, pair.theirs(prompt))
    assert len(ours.speech_tokens) == int(prompt.duration_s * 25)
    assert int(ours.speech_tokens.max()) < 6561
    assert len(set(ours.speech_tokens.tolist())) > 10
    assert torch.isfinite(ours.mel).all()


@pytest.mark.parametrize("rate", [16_000, 24_000, 48_000])
def test_features_of_the_newer_model_are_the_librarys(pair: Pair, pair_3: Pair, rate: int) -> None:
    prompt = make_prompt(sounds.voice(3.3, rate), rate)
    ours = pair_3.ours.extract(prompt)
    assert_same_features(ours, pair_3.theirs(prompt))
    assert not torch.allclose(ours.mel[:, -1], pair.ours.extract(prompt).mel[:, -1])


def test_the_newer_models_mel_hears_to_12_khz() -> None:
    time = torch.arange(24_000) / 24_000
    hiss = 0.1 * torch.sin(2 * torch.pi * 10_500 * time)
    levels = spectra.mel(hiss, COSYVOICE3.mel_top_hz).mean(dim=0)
    assert levels.argmax() >= 71
    assert spectra.mel(hiss, COSYVOICE2.mel_top_hz).max() < levels.max() - 3


@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_a_recordings_upper_band_is_in_its_mel(pair: Pair, rate: int) -> None:
    """It is the whole difference: a recording at 16 kHz is heard as ever."""
    prompt = make_prompt(sounds.voice(2.0, rate), rate)
    before = pair.library.frontend_zero_shot("", "", heard_by_library(prompt), spectra.MEL_RATE, "")
    apart = (pair.ours.extract(prompt).mel - before["prompt_speech_feat"][0]).abs().max(dim=0).values
    assert apart[:60].max() < 0.1
    assert apart[72:].max() > 0.5 if rate > 16_000 else apart.max() < 1e-4


@pytest.mark.full
def test_features_at_full_size_are_the_librarys(full_pair: Pair, prompt: Prompt) -> None:
    assert_same_features(full_pair.ours.extract(prompt), full_pair.theirs(prompt))


def test_mel_is_the_librarys(pair: Pair, prompt: Prompt) -> None:
    heard = resample(prompt.samples, prompt.sample_rate, 24_000)
    assert_same(spectra.mel(heard), pair.library.feat_extractor(heard[None])[0].t())


def test_log_mel_is_whispers(prompt: Prompt, library_path: Path) -> None:
    whisper = importlib.import_module("whisper")
    heard = heard_by_library(prompt)
    assert_same(spectra.log_mel(heard[0]), whisper.log_mel_spectrogram(heard, n_mels=128)[0])


def test_fbank_is_what_the_librarys_encoder_hears(pair: Pair, prompt: Prompt) -> None:
    """The library has no function for it: it is taken where the library hands it to its encoder."""
    session, heard = pair.library.campplus_session, heard_by_library(prompt)
    with Listening(session) as listening:
        pair.library._extract_spk_embedding(heard)
    (given,) = listening.inputs[0].values()
    assert_same(spectra.fbank(heard[0]), torch.from_numpy(given)[0])


class Listening:
    """Keeps what an ONNX session is given, while it does its work."""

    def __init__(self, session: Any) -> None:
        self.inputs: list[dict[str, NDArray[np.float32]]] = []
        self._session = session

    def __enter__(self) -> Self:
        run = self._session.run

        def listen(names: None, inputs: dict[str, NDArray[np.float32]]) -> Any:
            self.inputs.append(inputs)
            return run(names, inputs)

        self._session.run = listen
        return self

    def __exit__(self, *_: object) -> None:
        del self._session.run


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000, 44_100, 48_000, 96_000, 192_000])
def test_usual_rates_are_resampled_as_the_library_does(rate: int) -> None:
    prompt = make_prompt(sounds.voice(1.0, rate), rate)
    assert torch.equal(resample(prompt.samples, rate, 16_000), heard_by_library(prompt)[0])


@pytest.mark.parametrize("rate", [16_001, 47_999, 191_999])
def test_rates_with_nothing_in_common_are_resampled_in_little_memory(rate: int) -> None:
    """The library's resampler would make a filter of 2 to 24 GB."""
    samples = sounds.sine(1.0, rate, hertz=1000.0)
    with address_space_for(2**29):
        heard = resample(samples, rate, 16_000)
    assert heard.dtype == torch.float32
    assert abs(len(heard) - 16_000) <= 1
    wanted = torch.from_numpy(sounds.sine(1.0, 16_000, hertz=1000.0))
    assert (heard[1000:15_000] - wanted[1000:15_000]).abs().max() < 5e-3


@contextmanager
def address_space_for(more: int) -> Iterator[None]:
    """Let this process take so many bytes more, and fail to get any beyond."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_two_voices_differ(pair: Pair) -> None:
    low, high = (pair.ours.extract(make_prompt(sounds.voice(2.0, 16_000, hertz))) for hertz in (110, 260))
    assert torch.cosine_similarity(low.embedding, high.embedding, dim=0) < 0.95
    assert low.speech_tokens.tolist() != high.speech_tokens.tolist()


def test_many_threads_may_extract_at_once(pair: Pair) -> None:
    prompts = [make_prompt(sounds.voice(1.0 + 0.3 * index, 24_000, 100 + 30 * index), 24_000) for index in range(6)]
    alone = [pair.ours.extract(prompt) for prompt in prompts]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(pair.ours.extract, prompts * 3))
    for index, features in enumerate(together):
        wanted = alone[index % 6]
        assert torch.equal(features.speech_tokens, wanted.speech_tokens)
        assert torch.equal(features.mel, wanted.mel)
        assert torch.equal(features.embedding, wanted.embedding)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (sounds.voice(30.5, 16_000), "30 s is the longest"),
        (sounds.voice(0.05, 16_000), "is the shortest"),
        (np.zeros(0, np.float32), "is the shortest"),
        (np.full(32_000, np.nan, np.float32), "no numbers"),
        (np.where(np.arange(32_000) == 777, np.inf, 0).astype(np.float32), "no numbers"),
    ],
)
def test_a_prompt_that_is_no_voice_is_refused(pair: Pair, samples: NDArray[np.float32], reason: str) -> None:
    with pytest.raises(RequestError, match=reason) as refusal:
        pair.ours.extract(make_prompt(samples))
    assert refusal.value.code is FailureCode.INVALID_PROMPT


@pytest.mark.parametrize("rate", [16_000, 44_100, 192_000])
def test_the_shortest_that_is_taken_gives_features(pair: Pair, rate: int) -> None:
    features = pair.ours.extract(make_prompt(sounds.voice(0.1, rate), rate))
    assert len(features.speech_tokens) == 2
    assert torch.isfinite(features.mel).all()


@pytest.fixture
def folder(small_checkpoint: Path, tmp_path: Path) -> Path:
    """A folder with the two models, for a test to spoil."""
    for name in (SPEAKER_FILE, TOKENIZER_FILE):
        shutil.copy(small_checkpoint / name, tmp_path)
    return tmp_path


def load_error(folder: Path, name: str) -> str:
    with pytest.raises(LoadError) as caught:
        FeatureExtractor.load(folder, CPU)
    message = str(caught.value)
    assert str(folder / name) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", [SPEAKER_FILE, TOKENIZER_FILE])
def test_a_missing_model_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert "missing" in load_error(folder, name)


@pytest.mark.parametrize("name", [SPEAKER_FILE, TOKENIZER_FILE])
@pytest.mark.parametrize("kept", [0, 100, 10_000])
def test_a_truncated_model_is_named(folder: Path, name: str, kept: int) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:kept])
    assert "cut short" in load_error(folder, name)


@pytest.mark.parametrize(("name", "other"), [(SPEAKER_FILE, TOKENIZER_FILE), (TOKENIZER_FILE, SPEAKER_FILE)])
def test_another_model_is_named(folder: Path, small_checkpoint: Path, name: str, other: str) -> None:
    shutil.copy(small_checkpoint / other, folder / name)
    assert "another model" in load_error(folder, name)
