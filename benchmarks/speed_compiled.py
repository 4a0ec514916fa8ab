"""What the extra ``fast`` gains: each function with the compiled loops and without, in turn.

One command, about a minute on two quiet cores; needs Numba::

    python benchmarks/speed_compiled.py

"with" and "without" are medians of interleaved rounds, in milliseconds; "gain" is the median over
the rounds of the time without, divided by the time with in the same round.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from speed_cases import ALPHA, QHAT, Size, made
from speed_measure import interleaved

from conformal_plugin import Calibrator, calibrate, evaluate, filter
from conformal_plugin.scores import compiled

_NEVER = 2**62


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    size = Size(options.images, options.height, options.width, options.classes)
    compiled._LEFT_TO_NUMPY = 0
    if compiled.loops_for("labelling", 1) is None:
        raise SystemExit('Numba cannot be used here: pip install "conformal-plugin[fast]"')

    def without(function: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> None:
            compiled._LEFT_TO_NUMPY = _NEVER
            try:
                function()
            finally:
                compiled._LEFT_TO_NUMPY = 0

        return run

    print("| | with ms | without ms | gain |\n| --- | ---: | ---: | ---: |")
    for name, function in cases(size):
        times = interleaved({"with": function, "without": without(function)}, options.rounds)
        took, slower = times["with"], times["without"]
        print(
            f"| {name} | {1e3 * took['median']:.1f} | {1e3 * slower['median']:.1f} | "
            f"{slower['ratio']:.2f} |",
            flush=True,
        )


def cases(size: Size) -> Any:
    """Names and functions, whose maps live no longer than they are needed."""
    maps, labels = made(size, torch.float32)

    def streamed() -> Any:
        calibrator = Calibrator()
        calibrator.update(maps, labels)
        return calibrator.result(ALPHA)

    yield "`filter`, float32", lambda: filter(maps, QHAT)
    yield "`filter`, float32, `singleton`", lambda: filter(maps, QHAT, rule="singleton")
    per_class = [QHAT + 0.001 * c for c in range(size.classes)]
    yield "`filter`, float32, thresholds per class", lambda: filter(maps, per_class)
    yield "`calibrate`, float32", lambda: calibrate(maps, labels, ALPHA)
    yield "`Calibrator`, float32", streamed
    yield "`evaluate`, float32", lambda: evaluate(maps, labels, QHAT)
    beside = maps.contiguous(memory_format=torch.channels_last)
    yield "`filter`, float32, channels last", lambda: filter(beside, QHAT)
    half, small = maps.half(), (255 * maps).to(torch.uint8)
    yield "`filter`, float16", lambda: filter(half, QHAT)
    yield "`calibrate`, float16", lambda: calibrate(half, labels, ALPHA)
    yield "`filter`, uint8", lambda: filter(small, QHAT)


if __name__ == "__main__":
    main()
