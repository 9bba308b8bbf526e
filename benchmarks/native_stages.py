"""Where the engine `native` spends its time, stage by stage, and how far each stage is from its floor.

    python -m benchmarks.native_stages                  # builds the full-size checkpoint first
    python -m benchmarks.native_stages --checkpoint DIR --at-once 10 --tokens 125
    python -m benchmarks.native_stages --model 3        # CosyVoice3
    python -m benchmarks.native_stages --quick          # small checkpoint: whether it works, no figures

The floor of a stage is the arithmetic of its work at this machine's best rate, or the reading of its weights at the
best rate, whichever takes longer. Both rates are measured first; what the work takes is read from the shapes in the
model folder (`benchmarks/floors.py`). Each token and each frame counts once, however often it was computed.

First audio is taken apart too: into the turns that a stream took part in, and the queue, which is all the rest: other
streams' turns, text, threads. On a GPU every stage is waited for, which the engine itself does not do. fp32 on a CPU.
"""

import argparse
import statistics

import torch

from benchmarks.floors import Floors, Machine
from benchmarks.native import add_model, checkpoint, machine
from benchmarks.native_side import Native, play, rehearse
from benchmarks.native_trace import Floor, Trace
from benchmarks.takes import Heard, Take
from cosyserve.protocol import EngineConfig
from cosyserve_workers.native.lanes import on_a_passing_thread

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def main() -> None:
    """Run one take, and print where its time went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model(parser)
    parser.add_argument("--prompt", type=int, default=100, help="speech tokens of the voice's prompt, 25 a second")
    parser.add_argument("--tokens", type=int, default=125, help="speech tokens that each stream says")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--state-gib", type=float, default=12.0)
    parser.add_argument("--precision", choices=list(DTYPES), default="fp32")
    parser.add_argument("--quick", action="store_true", help="small checkpoint: whether it works")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with checkpoint(args.checkpoint, "small" if args.quick else "full", args.model) as folder:
        floors = Floors.of(folder)
        best = on_a_passing_thread(lambda: Machine.measure(device, DTYPES[args.precision]))
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else machine()
        print(f"{name}, {torch.get_num_threads()} threads, {args.precision}")
        print(f"at best {best.operations / 1e9:.0f} GFLOP/s, and {best.bytes_read / 1e9:.1f} GB/s read")
        print_needs(floors, DTYPES[args.precision])
        floor = Floor(floors, best, DTYPES[args.precision])
        most = max(args.at_once)
        side = Native(
            EngineConfig("native", str(folder), precision=args.precision, streams=most, state_budget_gib=args.state_gib)
        )
        for at_once in args.at_once:
            take = Take(args.prompt, args.tokens, at_once)
            rehearse(side, [take])
            trace = Trace(floor, device)
            with trace.listening():
                heard = play(side, take)
            print_take(take, heard, trace)
        side.engine.close()


def print_needs(floors: Floors, dtype: torch.dtype) -> None:
    """What a second of sound needs of each network."""
    billion = 1e9
    reading = floors.lm_weights * 25 * dtype.itemsize / billion
    context = floors.flow_context * 50 / billion
    print("\n| network | GFLOP for a second of sound |")
    print("|---|---|")
    print(f"| language model | {floors.lm_weights * 50 / billion:.1f}; reads {reading:.0f} GB if alone in its batch |")
    print(f"| flow, estimator | {floors.estimator_frame * 50 / billion:.0f}; {context:.3f} more per frame of context |")
    print(f"| flow, encoder | {floors.encoder_frame * 50 / billion:.1f} |")
    print(f"| vocoder | {floors.vocoder_second / billion:.0f} |")


def print_take(take: Take, heard: Heard, trace: Trace) -> None:
    """Print the stages of a take, and first audio."""
    rate = take.audio_s / heard.wall_s
    print(f"\n{take.at_once} at once, {take.tokens / 25:g} s each, prompt of {take.prompt / 25:g} s: ", end="")
    print(f"{heard.wall_s:.2f} s, {rate:.2f} audio seconds per second, {heard.underruns} underruns\n")
    print("| stage | calls | seconds | share | floor | times the floor |")
    print("|---|---|---|---|---|---|")
    rest = heard.wall_s
    for name, spent in trace.stages.items():
        rest -= spent.seconds
        floor = f"{spent.floor_s:.2f} | {spent.seconds / spent.floor_s:.2f}" if spent.floor_s else " | "
        print(f"| {name} | {spent.calls} | {spent.seconds:.2f} | {spent.seconds / heard.wall_s:.0%} | {floor} |")
    print(f"| all else | | {rest:.2f} | {rest / heard.wall_s:.0%} | | |")
    print("\n| first audio | seconds, median of the streams |")
    print("|---|---|")
    for kind in ("Prefill", "Decode", "Solve"):
        took = statistics.median(stream.turns.get(kind, 0.0) for stream in trace.streams)
        print(f"| turns: {kind.lower()} | {took:.2f} |")
    queue = [stream.seconds - sum(stream.turns.values()) for stream in trace.streams]
    print(f"| queue | {statistics.median(queue):.2f} |")
    print(f"| all | {statistics.median(stream.seconds for stream in trace.streams):.2f} |", flush=True)


if __name__ == "__main__":
    main()
