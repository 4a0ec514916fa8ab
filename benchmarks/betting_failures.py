"""How often the tests of precision control certify a risk that is just not allowed.

Run (seconds)::

    python benchmarks/betting_failures.py [--runs 200000] [--seed 0]

n images have losses of 0 or 1 with mean epsilon exactly, the worst case of "at most epsilon". A
valid test rejects, which would certify the threshold, in at most a share delta of runs. "Most by
chance" is the 99.9 % point of Binomial(runs, delta) as a share. "Present bet" is the betting test
with a known mistake, for comparison: each bet is chosen with the loss that it is then paid for
already counted in.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from scipy.stats import binom

from conformal_plugin.betting import betting_pvalue, hoeffding_bentkus_pvalue

RISKS = (0.02, 0.05, 0.1, 0.3)
DELTAS = (0.1, 0.05)


def present_bet_pvalue(losses: np.ndarray, epsilon: float, delta: float) -> np.ndarray:
    """1 / the highest capital when the variance behind a bet includes the present loss."""
    n, runs = losses.shape
    capital, highest = np.zeros(runs), np.zeros(runs)
    mean, variance = np.full(runs, 0.5), np.full(runs, 0.25)
    for t in range(1, n + 1):
        loss = losses[t - 1].astype(float)
        mean += (loss - mean) / (t + 1)
        variance += ((loss - mean) ** 2 - variance) / (t + 1)
        bet = np.minimum(np.sqrt(2 * math.log(1 / delta) / (n * variance)), 1 / (1 - epsilon))
        capital += np.log1p(np.maximum(bet * (epsilon - loss), -1 + 1e-12))
        highest = np.maximum(highest, capital)
    return np.exp(-highest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200_000)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"n = {arguments.images}, {arguments.runs} runs: share of runs that certify\n")
    print("| delta | epsilon | betting | Hoeffding-Bentkus | present bet | most by chance |")
    print("| --- | --- | --- | --- | --- | --- |")
    for delta in DELTAS:
        most = binom.isf(1e-3, arguments.runs, delta) / arguments.runs
        for number, risk in enumerate(RISKS):
            rng = np.random.default_rng([arguments.seed, number])
            losses = rng.random((arguments.images, arguments.runs)) < risk
            shares = [
                float((p <= delta).mean())
                for p in (
                    betting_pvalue(losses, risk, aim=delta),
                    hoeffding_bentkus_pvalue(losses, risk),
                    present_bet_pvalue(losses, risk, delta),
                )
            ]
            print(
                f"| {delta:g} | {risk:g} | "
                + " | ".join(f"{share:.4f}" for share in shares)
                + f" | {most:.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
