"""One side of `benchmarks.fidelity`: what each stage makes of the same recording, texts and forced tokens.

`library` is the CosyVoice library in float32. `native` is our own inference, in any precision. Each stage may be given
what another side's stage before it has made: then what differs is the stage's own.

As a command it writes that to a file. Each side has a process of its own: the library changes what it is imported into,
and takes a GPU where it sees one.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import soundfile
import torch
from tests.model.texts import TEXTS
from torch import Tensor

from benchmarks.fidelity_made import Made
from cosyserve.protocol import END_OF_PROMPT, EngineConfig, Prompt
from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.features.voice import FeatureExtractor, VoiceFeatures
from cosyserve_workers.native.flow.flow import Flow, FlowStep
from cosyserve_workers.native.flow.sizes import CHUNK_TOKENS
from cosyserve_workers.native.lm.model import LanguageModel
from cosyserve_workers.native.lm.weights import QWEN_FOLDER, load_weights
from cosyserve_workers.native.models import COSYVOICE3, ModelFolder, model_in
from cosyserve_workers.native.precision import Precision
from cosyserve_workers.native.utterances import Segment
from cosyserve_workers.native.vocoder.hift import Hift
from cosyserve_workers.native.vocoder.stream import source_of
from cosyserve_workers.native.vocoder.weights import HiftWeights
from cosyserve_workers.text import SYSTEM_PROMPT
from cosyserve_workers.torch_device import find_device

if TYPE_CHECKING:
    from cosyserve_workers.native.text.tokenizer import TextTokenizer

RECORDING = Path(__file__).parents[1] / "asset" / "zero_shot_prompt.wav"
TRANSCRIPT = "希望你以后能够做的比我还好呦。"
"""What is said in the recording."""
SAMPLE_RATE = 24_000
CPU = torch.device("cpu")


class Side(Protocol):
    """An implementation, stage by stage. Tensors that are given and returned lie on the CPU."""

    def voice(self, prompt: Prompt) -> VoiceFeatures:
        """A recording's features."""

    def ids(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """Of each text's segments."""

    def before(self) -> list[int]:
        """Ids that the model wants to read before all else: a system prompt, or nothing."""

    def scores(self, segment: Segment, tokens: Sequence[int]) -> Tensor:
        """Log-probabilities before each token that is then said: [steps, vocab]."""

    def mel(self, voice: VoiceFeatures, tokens: Tensor) -> Tensor:
        """[80, frames] float32 of these tokens."""

    def pitch(self, mel: Tensor) -> Tensor:
        """[frames] Hz."""

    def sound(self, mel: Tensor, source: Tensor) -> Tensor:
        """[samples]."""


@torch.inference_mode()
def make(side: Side, model_dir: Path, given: Made | None = None, most: int | None = None) -> Made:
    """Go through the stages of a side, each on what `given` has of the stage before it, or on its own.

    The tokens said are the recording's own, `most` of them: what a real model's scores and activations are like, only
    speech tells.
    """
    prompt = recording()
    voice = side.voice(prompt)
    ids = side.ids([TRANSCRIPT, *TEXTS])
    before = side.before()
    heard = given or Made(voice, voice.speech_tokens[:most], before, ids, *[torch.zeros(0)] * 5)
    scores = side.scores(heard.segment(), heard.said.tolist())
    mel = side.mel(heard.voice, heard.said)
    fed = given.mel if given else mel
    pitch = side.pitch(fed)
    source = given.source if given else excitation(model_dir, pitch)
    return Made(voice, heard.said, before, ids, scores, mel, pitch, source, side.sound(fed, source))


def recording() -> Prompt:
    """The voice that is heard."""
    samples, rate = soundfile.read(RECORDING, dtype="float32")
    return Prompt(samples, rate, RECORDING.name)


def excitation(model_dir: Path, pitch: Tensor) -> Tensor:
    """The vocoder's source for a pitch, [480 frames], the same whenever it is asked for."""
    return source_of(HiftWeights(model_dir, CPU, model_in(model_dir))).whole(pitch, seed=0)


class Native:
    """Our own inference. A network is loaded when it is asked, and gone afterwards: one at a time has to find room."""

    def __init__(self, model_dir: Path, device: torch.device, precision: Precision) -> None:
        self._folder = model_dir
        self._model = model_in(model_dir)
        self._device = device
        self._precision = precision

    def voice(self, prompt: Prompt) -> VoiceFeatures:
        """As `Side`."""
        return FeatureExtractor.load(self._folder, self._device, self._model).extract(prompt)

    def ids(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """As `Side`."""
        from cosyserve_workers.native.text.segments import TextFrontEnd

        tokenizer = self._tokenizer()
        text_front_end = TextFrontEnd(tokenizer)
        return [[tokenizer.encode(segment) for segment in text_front_end.segments(text)] for text in texts]

    def before(self) -> list[int]:
        """As `Side`."""
        return self._tokenizer().encode_instruction(SYSTEM_PROMPT) if self._model is COSYVOICE3 else []

    def _tokenizer(self) -> "TextTokenizer":
        from cosyserve_workers.native.text.tokenizer import TextTokenizer

        return TextTokenizer(self._folder / QWEN_FOLDER, newer=self._model is COSYVOICE3)

    def language_model(self, positions: int) -> LanguageModel:
        """With one slot."""
        folder, precision = ModelFolder.at(self._folder), self._precision
        weights = load_weights(folder, self._device, precision.dtype, int8=precision.int8)
        return LanguageModel(weights, slots=1, max_tokens=positions)

    def flow(self) -> Flow:
        """On one lane."""
        return Flow.load(self._folder, self._device, self._precision.dtype, model=self._model)

    def vocoder(self) -> Hift:
        """Without its streams."""
        return Hift(HiftWeights(self._folder, self._device, self._model), self._precision.vocoder)

    def scores(self, segment: Segment, tokens: Sequence[int]) -> Tensor:
        """As `Side`."""
        return run_language_model(self.language_model(segment.rows + len(tokens)), segment, tokens)

    def mel(self, voice: VoiceFeatures, tokens: Tensor) -> Tensor:
        """As `Side`."""
        return run_flow(self.flow(), voice, tokens)

    def pitch(self, mel: Tensor) -> Tensor:
        """As `Side`."""
        return pitch_of(self.vocoder(), mel.to(self._device))

    def sound(self, mel: Tensor, source: Tensor) -> Tensor:
        """As `Side`."""
        return run_vocoder(self.vocoder(), mel.to(self._device), source.to(self._device))


def run_language_model(model: LanguageModel, segment: Segment, tokens: Sequence[int]) -> Tensor:
    """Read a segment and say the tokens: log-probabilities before each, [steps, vocab]."""
    parts = (segment.prompt_text, segment.text, segment.prompt_speech)
    scores = [model.prefill([0], [model.embed(*(torch.tensor(list(part), dtype=torch.int64) for part in parts))])]
    scores += [model.decode([0], torch.tensor([token], device=model.device)) for token in tokens[:-1]]
    return torch.cat(scores).float().log_softmax(dim=-1).cpu()


def run_flow(flow: Flow, voice: VoiceFeatures, tokens: Tensor) -> Tensor:
    """Solve tokens chunk by chunk, as they are served: [80, frames]."""
    stream = flow.open(flow.voice_state(voice.speech_tokens, voice.mel, voice.embedding))
    pieces = torch.split(tokens, CHUNK_TOKENS)
    final = len(pieces) - 1
    return torch.cat(
        [flow.advance([FlowStep(stream, piece, final=index == final)])[0].cpu() for index, piece in enumerate(pieces)],
        dim=1,
    )


def pitch_of(hift: Hift, mel: Tensor) -> Tensor:
    """[80, frames] to [frames] Hz."""
    return hift.pitch(mel[None])[0].cpu()


def run_vocoder(hift: Hift, mel: Tensor, source: Tensor) -> Tensor:
    """[80, frames] with its source to sound, [480 frames]."""
    return hift.decode(mel[None], source[None])[0].float().cpu()


class Library:
    """The CosyVoice library, loaded as the engine `cosyvoice` loads it. Raises LoadError."""

    def __init__(self, model_dir: Path, source_dir: str) -> None:
        from cosyserve_workers.cosyvoice.accelerations import Machine
        from cosyserve_workers.cosyvoice.loading import load

        config = EngineConfig("cosyvoice", str(model_dir), source_dir=source_dir, precision="fp32", tensorrt="false")
        loaded = load(config, Machine.here("cpu"))
        self._as_path = loaded.prompts_as_paths
        self._frontend = loaded.cosyvoice.frontend
        self._model = loaded.cosyvoice.model
        self._newer = model_in(model_dir) is COSYVOICE3

    def voice(self, prompt: Prompt) -> VoiceFeatures:
        """As `Side`."""
        from cosyserve_workers.cosyvoice.voices import extract

        voice = extract(self._frontend, SAMPLE_RATE, prompt, as_path=self._as_path)
        return VoiceFeatures(voice.tokens[0].long(), voice.mel[0], voice.embedding[0])

    def ids(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """As `Side`."""
        encode, normalise = self._frontend.tokenizer.encode, self._frontend.text_normalize
        return [[encode(segment) for segment in normalise(text, split=True)] for text in texts]

    def before(self) -> list[int]:
        """As `Side`."""
        ids: list[int] = self._frontend.tokenizer.encode(SYSTEM_PROMPT + END_OF_PROMPT) if self._newer else []
        return ids

    def scores(self, segment: Segment, tokens: Sequence[int]) -> Tensor:
        """As `Side`."""
        llm, seen = self._model.llm, []

        def say(scores: Tensor, said: Sequence[int], count: int) -> Tensor:
            del said, count
            seen.append(scores.clone())
            return torch.tensor([tokens[len(seen) - 1]])

        llm.sampling = say
        parts = (segment.text, segment.prompt_text, segment.prompt_speech)
        given = [tensor for part in parts for tensor in _batch_of_one(torch.tensor(part, dtype=torch.int32))]
        spoken = llm.inference(*given, torch.zeros(0, 192), max_token_text_ratio=1000, min_token_text_ratio=0)
        for _ in zip(range(len(tokens)), spoken, strict=False):
            pass
        return torch.stack(seen[: len(tokens)])

    def mel(self, voice: VoiceFeatures, tokens: Tensor) -> Tensor:
        """As `Side`: in one pass, with the streaming mask."""
        names = ("token", "prompt_token", "prompt_feat")
        given: dict[str, Any] = {}
        for name, tensor in zip(names, (tokens, voice.speech_tokens, voice.mel), strict=True):
            given[name], given[f"{name}_len"] = _batch_of_one(tensor)
        mel, _ = self._model.flow.inference(**given, embedding=voice.embedding[None], streaming=True, finalize=True)
        return Tensor.float(mel[0])

    def pitch(self, mel: Tensor) -> Tensor:
        """As `Side`."""
        predictor = self._model.hift.f0_predictor
        if self._newer:
            # As its own inference does.
            return Tensor.float(predictor.to(torch.float64)(mel[None].double())[0])
        return Tensor.float(predictor(mel[None])[0])

    def sound(self, mel: Tensor, source: Tensor) -> Tensor:
        """As `Side`."""
        sound: Tensor = self._model.hift.decode(x=mel[None], s=source[None, None])[0]
        return sound


def _batch_of_one(tensor: Tensor) -> tuple[Tensor, Tensor]:
    return tensor[None], torch.tensor([len(tensor)], dtype=torch.int32)


def main() -> None:
    """Run a side, and write what it made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=["library", "native"])
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--source-dir", default="")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--given", type=Path)
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--largest", type=Path, help="where the largest numbers of our float32 go, as JSON")
    args = parser.parse_args()
    try:
        given = Made.load(args.given) if args.given else None
        made = make(_side(args), args.model_dir, given, args.tokens)
        made.save(args.out)
        if args.largest:
            from benchmarks.activations import largest_activations

            args.largest.write_text(json.dumps(largest_activations(args.model_dir, given or made)))
    except LoadError as error:
        sys.exit(str(error))


def _side(args: argparse.Namespace) -> Side:
    if args.side == "library":
        return Library(args.model_dir, args.source_dir)
    return Native(args.model_dir, find_device(args.device), precision(args.precision, args.device))


def precision(name: str, device: str) -> Precision:
    """Of ours. `int8` is float32 with the language model in bytes; in bf16 on a CPU the vocoder is so too."""
    if name == "int8":
        return Precision("fp32", int8=True)
    return Precision(name, vocoder=torch.bfloat16 if name == "bf16" and device == "cpu" else torch.float32)


if __name__ == "__main__":
    main()
