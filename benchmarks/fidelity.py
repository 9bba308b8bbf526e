"""Whether the engine `native` computes what upstream's code does, with the weights at hand: run this before all else.

    python -m benchmarks.fidelity --model-dir pretrained_models/CosyVoice2-0.5B
    python -m benchmarks.fidelity --model-dir pretrained_models/Fun-CosyVoice3-0.5B-2512 --source-dir CHECKOUT
    python -m benchmarks.fidelity --model-dir DIR --source-dir CHECKOUT --precision fp32 bf16 fp16 --device auto
    python -m benchmarks.fidelity --quick        # a small model of random weights: whether it works

A recording's own speech tokens are said once more, by us and by the CosyVoice library in float32 on the CPU: the
snapshot in the wheel xinference, or a checkout, which CosyVoice3 needs. Where there is no library, by us in float32 on
the CPU. Each of our stages is given what the reference's stage before it made, so that what differs is its own. A bar
is that of our tests for float32, and of half precision what it was measured to be off by with room to spare.

Then, by network, the largest number that float32 makes: above 65,504 fp16 overflows.

Exit status: 0 where all bars hold, 1 where one does not, 2 where it could not be found out.
"""

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.fidelity_made import Made
from benchmarks.fidelity_measures import BARS, FP16_LARGEST, Measure, compare
from benchmarks.native import ROOT, checkpoint, machine, progress, snapshot
from cosyserve.check.engines import library_problems
from cosyserve_workers.engine import LoadError
from cosyserve_workers.torch_device import find_device

Layers = Mapping[str, Mapping[str, float]]
"""Network to layer to its largest number."""
COULD_NOT = 2


@dataclass(frozen=True)
class Report:
    """What was found. measures: by precision."""

    model: str
    machine: str
    reference: str
    device: str
    measures: Mapping[str, Sequence[Measure]]
    largest: Layers

    def broken(self, precision: str) -> list[str]:
        """What does not hold in one."""
        broken = [one.stage for one in self.measures[precision] if one.holds is False]
        if precision == "fp16":
            broken += [f"room for the {network}" for network, (_, most) in self.tops() if most >= FP16_LARGEST]
        return broken

    @property
    def holds(self) -> bool:
        """Whether everything does."""
        return not any(map(self.broken, self.measures))

    def tops(self) -> list[tuple[str, tuple[str, float]]]:
        """The layer with the largest number of each network."""
        return [(name, max(layers.items(), key=lambda layer: layer[1])) for name, layers in self.largest.items()]

    @property
    def verdict(self) -> str:
        """All of it in a sentence for each precision."""
        return " ".join(map(self._sentence, self.measures))

    def _sentence(self, precision: str) -> str:
        broken = self.broken(precision)
        if not broken:
            near = "computes what" if precision == "fp32" else "stays as near as this precision may to what"
            return f"In {precision} all bars hold: native {near} {self.reference} computes."
        return f"Do not serve in {precision}: above its bar is {', '.join(broken)}."


def main() -> None:
    """Compare, print, and end with what was found."""
    args = arguments()
    with checkpoint(args.model_dir, "small" if args.quick else "full") as folder:
        try:
            report = measure(folder, args)
        except LoadError as error:
            progress(str(error))
            sys.exit(COULD_NOT)
    whole = {**asdict(report), "holds": report.holds, "verdict": report.verdict}
    print(json.dumps(whole) if args.json else markdown(report))
    sys.exit(0 if report.holds else 1)


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-dir", type=Path, help="a model folder; random weights are built if not given")
    parser.add_argument("--source-dir", default="", help="a checkout of the library; the snapshot if not given")
    parser.add_argument("--reference", choices=["auto", "library", "native"], default="auto", help="what is right")
    parser.add_argument(
        "--reference-dir", type=Path, help="another folder for the reference: what --model-dir was made from"
    )
    parser.add_argument("--precision", nargs="+", choices=list(BARS), default=["fp32"], help="of ours; several at will")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="of ours")
    parser.add_argument("--tokens", type=int, default=171, help="how many are said, of the 171 of the recording")
    parser.add_argument("--json", action="store_true", help="everything, each layer too, instead of tables")
    parser.add_argument("--quick", action="store_true", help="build a small model instead of a full-size one")
    return parser.parse_args()


def measure(model_dir: Path, args: argparse.Namespace) -> Report:
    """Have the reference speak, then ours in each precision."""
    reference, source = find_reference(args)
    device = find_device(args.device).type
    right = args.reference_dir or model_dir
    with tempfile.TemporaryDirectory(prefix="cosyserve-") as scratch:
        given = Path(scratch) / "reference"
        progress(f"reference: {reference} {source}")
        side(reference, right, given, "--source-dir", source, "--tokens", str(args.tokens))
        wanted = Made.load(given)
        measures = {}
        activations = Path(scratch) / "activations"
        once = ["--largest", str(activations)]
        for precision in args.precision:
            progress(f"native in {precision}")
            out = Path(scratch) / precision
            ours = ["--given", str(given), "--precision", precision, "--device", device]
            side("native", model_dir, out, *ours, *once)
            once = []
            measures[precision] = compare(wanted, Made.load(out), BARS[precision])
        largest = json.loads(activations.read_text())
    called = f"the CosyVoice library in {source}" if reference == "library" else "native in fp32 on the CPU"
    return Report(str(model_dir), machine(), called, device, measures, largest)


def find_reference(args: argparse.Namespace) -> tuple[str, str]:
    """The side that is right, and where the library is. Ends the program where what is demanded is not there."""
    if args.reference == "native":
        return "native", ""
    source = args.source_dir
    try:
        source = source or str(snapshot())
    except importlib.metadata.PackageNotFoundError:
        problems = library_problems(None)
        if problems and args.reference == "auto":
            progress(f"no library to compare with ({problems[0]})")
            return "native", ""
    return "library", source


def side(name: str, model_dir: Path, out: Path, *options: str) -> None:
    """Run a side in a process of its own. Ends the program where it fails."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # threads that wait awake stop each other on busy cores
    if name == "library":
        environment["CUDA_VISIBLE_DEVICES"] = ""  # it takes a GPU where it sees one
    # The library asserts ids of the published tokenizer, which a small model's has not; what it wants is put in.
    bare = ["-O"] if name == "library" else []
    command = [
        sys.executable,
        *bare,
        "-m",
        "benchmarks.fidelity_side",
        name,
        "--model-dir",
        str(model_dir),
        "--out",
        str(out),
    ]
    done = subprocess.run([*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        progress(f"the side {name} failed:\n{done.stderr[-4000:].strip()}")
        sys.exit(COULD_NOT)


def markdown(report: Report) -> str:
    """The report for people."""
    lines = [f"{report.model} on {report.device}, beside {report.reference}; {report.machine}.", ""]
    lines += ["| precision | stage | greatest difference | rms | | bar | holds |", "|---|---|---|---|---|---|---|"]
    for precision, measures in report.measures.items():
        lines += [f"| {precision} | {_cells(one)} |" for one in measures]
    lines += ["", "| network | largest number in fp32 | in layer | of fp16's largest |", "|---|---|---|---|"]
    for network, (layer, most) in report.tops():
        lines.append(f"| {network} | {most:.4g} | {layer} | {most / FP16_LARGEST:.2%} |")
    return "\n".join([*lines, "", report.verdict])


def _cells(one: Measure) -> str:
    more = ", ".join(f"{name} {value:.4g}" for name, value in one.more.items())
    holds = {True: "yes", False: "**no**", None: ""}[one.holds]
    return f"{one.stage} | {one.greatest:.3g} {one.unit} | {one.rms:.3g} | {more} | {one.bar} | {holds}"


if __name__ == "__main__":
    main()
