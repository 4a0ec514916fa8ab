"""One measurement of ``speed.py`` in a process of its own; prints it as JSON.

Called by ``speed.py``: ``time CASE``, ``memory CASE FUNCTION`` or ``stream``, each with a size.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from speed_cases import CASES, Size, stream
from speed_measure import above_base, interleaved

from conformal_plugin.scores import compiled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", choices=("time", "memory", "stream"))
    parser.add_argument("case", nargs="?", choices=CASES)
    parser.add_argument("function", nargs="?")
    parser.add_argument("--size", type=int, nargs=4, default=(8, 512, 512, 21))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--scores", type=int, default=10**9)
    parser.add_argument("--chunk", type=int, default=10**6)
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    compiled._LEFT_TO_NUMPY = 0  # as in a process that has read much already
    print(json.dumps(measured(options)))


def measured(options: argparse.Namespace) -> dict[str, Any]:
    if options.job == "stream":
        # A first, small one loads and allocates what is loaded and allocated once.
        stream(options.chunk, options.chunk)["stream"]()
        found: dict[str, float] = {}
        run = stream(options.scores, options.chunk)["stream"]
        grown = above_base(lambda: found.update(run()))
        return {**found, "bytes": grown}
    functions, size = CASES[options.case](Size(*options.size, options.data))
    if options.job == "memory":
        if options.function not in functions:
            return {}
        return {"bytes": above_base(functions[options.function]), "maps": size}
    return {"maps": size, "times": interleaved(functions, options.rounds)}


if __name__ == "__main__":
    main()
