"""Make the default prompt: `python -m cosyserve_workers.demo.make_prompt asset/zero_shot_prompt.wav`."""

import argparse
import wave
from pathlib import Path

import numpy as np

from cosyserve.protocol import EngineConfig, Mode, Prompt, Synthesize
from cosyserve_workers.demo.factory import create
from cosyserve_workers.pcm import to_pcm16

TEXT = "你好，很高兴认识你。今天天气真好，我们一起出去走走吧。"


def make_prompt(path: Path) -> None:
    """Speak TEXT into a 16-bit mono WAV file; the same bytes each time. Raises LoadError, OSError."""
    engine = create(EngineConfig(engine="demo", model_dir=""))
    unheard = Prompt(np.zeros(engine.sample_rate, np.float32), engine.sample_rate, "")
    request = Synthesize(0, TEXT, Mode.CROSS_LINGUAL, "", "", unheard, speed=1.0, seed=0)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(engine.sample_rate)
        for samples in engine.stream(request, lambda: False):
            file.writeframes(to_pcm16(samples))
    engine.close()


def main() -> None:
    """Write the file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="the WAV file to write")
    make_prompt(parser.parse_args().path)


if __name__ == "__main__":
    main()
