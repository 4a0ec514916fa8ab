"""Time and memory of filter, calibrate, evaluate and the training term, beside floors and peers.

One command, about five minutes on two quiet cores; the peers are those of the extra ``bench`` that
are installed::

    python benchmarks/speed.py --data ../voc-animals --json speed.json
    python benchmarks/speed.py --cases "filter, float32" "calibrate, float32"
    python benchmarks/speed.py --cases --stream 1e9

``NUMBA_DISABLE_JIT=1`` measures without the compiled loops of the extra ``fast``.

Each case runs in a process of its own, its functions in turn so that a busy machine slows all
alike. "x floor" is the median over the rounds of a function's time divided by that of the first
function of the table in the same round; "cpu x" the same of processor time. "Memory" is the growth
of the peak resident memory while the function runs, in a process of its own, and its share of the
maps.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# Images, height, width, classes; None for the size asked for.
SIZES: dict[str, tuple[int, int, int, int] | None] = {
    "filter, float32": None,
    "filter, float16": None,
    "filter, channels last": None,
    "filter, 150 classes": (2, 512, 683, 150),
    "filter, real maps": (92, 0, 0, 0),
    "calibrate, float32": None,
    "calibrate, float16": None,
    "calibrate, 150 classes": (2, 512, 683, 150),
    "calibrate, real maps": (92, 0, 0, 0),
    "evaluate, float32": None,
    "training step, crop 64": (8, 0, 0, 0),
    "training step, crop 160": (8, 0, 0, 0),
}
ONE_THREAD = ("filter, float32", "calibrate, float32")
MEMORY = {
    "filter, float32": ("filter", "torch.max(dim=1)", "argmax(dim=1)", "plain rule, argmax"),
    "filter, float16": ("filter",),
    "filter, channels last": ("filter",),
    "filter, 150 classes": ("filter",),
    "calibrate, float32": (
        "gather", "calibrate", "Calibrator, one pass", "torch: gather, sort",
        "torch: gather, kthvalue", "TorchCP, rows", "TorchCP, two columns", "puncc, two columns",
        "MAPIE, two columns",
    ),
    "calibrate, float16": ("calibrate",),
    "evaluate, float32": ("evaluate", "plain evaluation"),
}  # fmt: skip
# The quickstart trains with one thread; more rounds, as a difference of 2 % is looked for.
TRAINING = {"training step, crop 64": 240, "training step, crop 160": 60}
HELP = "from conformal_plugin.cli import main; main(['--help'])"


def main() -> None:
    options = _parser().parse_args()
    report: dict[str, Any] = {"machine": machine(), "cases": {}}
    print(report["machine"], flush=True)
    for name in options.cases if options.cases is not None else SIZES:
        if "real" in name and options.data is None:
            continue
        for threads in (None, 1) if name in ONE_THREAD else (None,):
            title = name if threads is None else f"{name}, one thread"
            report["cases"][title] = found = case(name, options, threads)
            print(table(title, found), flush=True)
    report["start-up"] = start_up(options.rounds)
    print(
        f"\nconformal-plugin --help: {report['start-up']['help']:.3f} s, of which Python itself "
        f"{report['start-up']['python']:.3f} s"
    )
    if options.stream:
        report["stream"] = found = worker("stream", "--scores", str(int(options.stream)))
        print(
            f"\n{options.stream:.0e} scores streamed: {options.stream / found['seconds']:.3g} a "
            f"second, {found['bytes'] / 2**20:.2f} MiB above the base, q-hat {found['qhat']!r}, "
            f"sorted {found['expected']!r}"
        )
    for line in verdicts(report):
        print(line)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="*", choices=SIZES, metavar="CASE", help="(default: all)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the real maps")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--stream", type=float, metavar="N", help="stream N scores (1e9: minutes)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    return parser


def machine() -> str:
    names = Path("/proc/cpuinfo")
    lines = names.read_text(encoding="utf-8").splitlines() if names.exists() else []
    model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "")
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {model or platform.processor()}, load {load:.2f} at the start"


def case(name: str, options: argparse.Namespace, threads: int | None) -> dict[str, Any]:
    asked = (options.images, options.height, options.width, options.classes)
    size = ["--size", *map(str, SIZES[name] or asked)]
    if options.data is not None:
        size += ["--data", str(options.data)]
    rounds = options.rounds
    if name in TRAINING:
        threads, rounds = 1, rounds * TRAINING[name] // 9
    more = ["--rounds", str(rounds)] + ([] if threads is None else ["--threads", str(threads)])
    found = worker("time", name, *size, *more)
    for function in MEMORY.get(name, ()) if threads is None else ():
        if function in found["times"]:
            found["times"][function]["bytes"] = worker("memory", name, function, *size)["bytes"]
    return found


def worker(*arguments: str) -> dict[str, Any]:
    """Run a measurement in a process of its own."""
    command = [sys.executable, str(HERE / "speed_worker.py"), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def start_up(rounds: int) -> dict[str, float]:
    """The least seconds of a process that prints the help, and of one that does nothing."""
    code = (
        "import subprocess, sys, time\n"
        "took = []\n"
        "for _ in range(int(sys.argv[2])):\n"
        "    began = time.perf_counter()\n"
        "    subprocess.run([sys.executable, '-c', sys.argv[1]], stdout=subprocess.DEVNULL)\n"
        "    took.append(time.perf_counter() - began)\n"
        "print(min(took))\n"
    )
    return {
        name: float(
            subprocess.run(
                [sys.executable, "-c", code, program, str(rounds)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout
        )
        for name, program in (("help", HELP), ("python", "pass"))
    }


def table(title: str, found: dict[str, Any]) -> str:
    lines = [
        f"\n### {title} ({found['maps'] / 2**20:.1f} MiB)\n",
        "| | median ms | least ms | x floor | cpu x | memory MiB | of the maps |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, times in found["times"].items():
        memory = "| |"
        if "bytes" in times:
            share = 100 * times["bytes"] / found["maps"]
            memory = f"{times['bytes'] / 2**20:.1f} | {share:.1f} % |"
        lines.append(
            f"| {name} | {1e3 * times['median']:.2f} | {1e3 * times['min']:.2f} | "
            f"{times['ratio']:.3f} | {times['cpu_ratio']:.3f} | {memory}"
        )
    return "\n".join(lines)


def verdicts(report: dict[str, Any]) -> Sequence[str]:
    """What was to be shown, and whether it was, in this run."""
    lines: list[str] = []

    def say(what: str, value: float, bound: float, *, most: bool = True) -> None:
        met = value <= bound if most else value >= bound
        side = "at most" if most else "at least"
        lines.append(f"- {'met' if met else 'MISSED'}: {what}: {value:.3g}, {side} {bound:g}")

    filters = report["cases"].get("filter, float32")
    if filters:
        times = filters["times"]
        ours = times["filter"]["ratio"]
        say("filter, read passes", ours, 3.5)
        say("filter, share of torch.max(dim=1)", ours / times["torch.max(dim=1)"]["ratio"], 0.5)
        say("filter, memory, share of the maps", times["filter"]["bytes"] / filters["maps"], 0.1)
        plain, better = (times[f"plain rule, {by}"]["ratio"] for by in ("argmax", "torch.max"))
        say("plain rule, argmax, times filter", plain / ours, 8, most=False)
        lines.append(f"- beside it: plain rule, torch.max, times filter: {better / ours:.3g}")
    calibrates = report["cases"].get("calibrate, float32")
    if calibrates:
        times = calibrates["times"]
        ours, memory = times["calibrate"]["ratio"], times["calibrate"]["bytes"]
        say("calibrate, times gather", ours, 2.5)
        own = ("gather", "calibrate", "Calibrator", "torch", "crepes")
        peers = [name for name in times if not name.startswith(own)]
        for form in ("rows", "two columns"):
            named = {name: times[name] for name in peers if name.endswith(form)}
            if named:
                best = min(named, key=lambda name: named[name]["ratio"])
                times_ours = named[best]["ratio"] / ours
                if form == "rows":
                    say(f"{best} (fastest peer), times calibrate", times_ours, 10, most=False)
                else:  # torch has gathered what the peer is asked about
                    lines.append(f"- beside it: {best}, times calibrate: {times_ours:.3g}")
                if "bytes" in named[best]:
                    share = memory / max(1, named[best]["bytes"])
                    say(f"calibrate, memory, share of {best}", share, 0.1)
    if "stream" in report:
        say("stream, MiB above the base", report["stream"]["bytes"] / 2**20, 64)
    for name in TRAINING:
        if name in report["cases"]:
            times = report["cases"][name]["times"]
            say(f"{name}, with the term", times["step, ConformalSupervision"]["ratio"], 1.02)
            # The same from what varies less than a whole step.
            added = times["ConformalSupervision alone"]["ratio"]
            added -= times["that cross_entropy alone"]["ratio"]
            lines.append(f"- beside it: {name}, what the terms alone differ by: {added:.3g}")
    say("conformal-plugin --help, seconds", report["start-up"]["help"], 0.5)
    return ["", *lines]


if __name__ == "__main__":
    main()
