"""Whether two annotators, combined, label better than the better of them, on real photos.

    python benchmarks/combine.py --data ../shared/data/voc-animals --work FOLDER

The second annotator is a small network on colours, edges and places, trained on half of the
labelled photos in three folds: each of these is scored by the network that did not see it, all
other photos by the mean of the three. Rules are fitted on that half, thresholds on the other half
of the labelled photos, and labels measured on photos of the other lists, which nothing has seen.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from conformal_plugin.cli import main as command
from conformal_plugin.combining import fit_stack
from conformal_plugin.files import MapStore, map_files, read_label

CELL = 8
FOLDS = 3
STEPS = 150
CORE = ("0", "8", "10", "12", "13", "15", "17")
CLASSES = 21


def features(path: Path) -> torch.Tensor:
    """What the network sees of each cell of a photo: its surroundings at four scales, its place."""
    photo = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).float().permute(2, 0, 1)
    height, width = photo.shape[1:]
    cells = (-(-height // CELL), -(-width // CELL))
    photo = photo[None] / 255
    edges = torch.zeros_like(photo)
    edges[..., 1:, :] += photo.diff(dim=-2).abs()
    edges[..., 1:] += photo.diff(dim=-1).abs()
    channels = torch.cat([photo, photo.square(), edges], dim=1)
    grid = torch.nn.functional.adaptive_avg_pool2d(channels, cells)
    parts = [grid]
    for size in (3, 7, 15):
        parts.append(
            torch.nn.functional.avg_pool2d(grid, size, 1, size // 2, count_include_pad=False)
        )
    parts.append(grid.mean((2, 3), keepdim=True).expand_as(grid))
    rows = torch.linspace(-1, 1, cells[0])[:, None].expand(cells)
    columns = torch.linspace(-1, 1, cells[1])[None].expand(cells)
    place = torch.stack([rows, columns, rows.square(), columns.square()])[None]
    return torch.cat([*parts, place], dim=1)[0]


def trained(grids: list[torch.Tensor], labels: list[np.ndarray], seed: int) -> torch.nn.Module:
    """A network of one hidden layer, on the labelled cells of some photos."""
    torch.manual_seed(seed)
    rows, truths = [], []
    for grid, label in zip(grids, labels, strict=True):
        centres = label[CELL // 2 :: CELL, CELL // 2 :: CELL]
        height, width = centres.shape
        valid = centres != 255
        rows.append(grid[:, :height, :width].permute(1, 2, 0)[torch.from_numpy(valid)])
        truths.append(torch.from_numpy(centres[valid].astype(np.int64)))
    inputs, truth = torch.cat(rows), torch.cat(truths)
    mean, spread = inputs.mean(0), inputs.std(0) + 1e-3
    network = torch.nn.Sequential(
        torch.nn.Linear(inputs.shape[1], 64), torch.nn.ReLU(), torch.nn.Linear(64, CLASSES)
    )
    with torch.no_grad():  # sees standardised inputs
        network[0].weight /= spread
        network[0].bias -= network[0].weight @ mean
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-2)
    for _ in range(STEPS):
        drawn = torch.randint(len(inputs), (2048,))
        loss = torch.nn.functional.cross_entropy(network(inputs[drawn]), truth[drawn])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


@torch.no_grad()
def scores_of(
    networks: list[torch.nn.Module], grid: torch.Tensor, size: tuple[int, int]
) -> np.ndarray:
    """The mean of the networks' scores, at the photo's size."""
    cells = torch.stack([network(grid.permute(1, 2, 0)).softmax(-1) for network in networks])
    mean = cells.mean(0).permute(2, 0, 1)[None]
    full = torch.nn.functional.interpolate(mean, size, mode="bilinear", align_corners=False)
    return full[0].clamp(0, 1).numpy()


def second_annotator(data: Path, out: Path, fit: list[str], others: list[str]) -> None:
    """Maps of a network that has seen none of the photos that it scores."""
    grids = {name: features(data / "images" / f"{name}.jpg") for name in (*fit, *others)}
    labels = {name: read_label(data / "labels" / f"{name}.png") for name in (*fit, *others)}
    networks = []
    for fold in range(FOLDS):
        seen = [name for i, name in enumerate(fit) if i % FOLDS != fold]
        networks.append(
            trained([grids[name] for name in seen], [labels[name] for name in seen], fold)
        )
    fingerprint = {"annotator": "cells", "folds": FOLDS, "fitted_on": fit}
    store = MapStore(out, annotator=fingerprint, class_names=tuple(map(str, range(CLASSES))))
    for i, name in enumerate(fit):
        store.write(name, scores_of([networks[i % FOLDS]], grids[name], labels[name].shape))
    for name in others:
        store.write(name, scores_of(networks, grids[name], labels[name].shape))


def run(*arguments: object) -> dict:
    """What a command prints as JSON."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = command([*map(str, arguments), "--quiet", "--json"])
    if code:
        raise SystemExit(f"conformal-plugin {arguments[0]} ended with {code}")
    return json.loads(printed.getvalue())


def measured(data: Path, maps: Path, work: Path) -> list[float]:
    """mIoU over the classes that are not rare, and recall of the objects: raw, and calibrated."""
    calibration = work / f"{maps.name}.json"
    common = ("--maps", maps, "--labels", data / "labels")
    run("calibrate", *common, "--ids", work / "calibrate.txt", "--alpha", 0.2, "-o", calibration)
    ids = ("--ids", work / "measure.txt", "--classes", *CORE)
    figures = []
    for how in (("--raw",), ("--calibration", calibration, "--rule", "foreground-first")):
        found = run("evaluate", *common, *ids, *how)
        confusion = np.array(found["confusion"])
        right = np.diagonal(confusion)
        figures += [found["miou_classes"], right[1:].sum() / confusion[1:].sum()]
    return figures


def stacked_alone(data: Path, out: Path, fit: list[str], others: list[str]) -> None:
    """The first annotator under a stack of its own: what is gained without a second one."""
    rule = fit_stack(
        (name, [scores], read_label(data / "labels" / f"{name}.png"))
        for name, scores in zip(fit, map_files(data / "probs", fit), strict=True)
    )
    names = tuple(map(str, range(CLASSES)))
    store = MapStore(out, annotator=rule.fingerprint([{}]), class_names=names)
    for name, scores in zip(others, map_files(data / "probs", others), strict=True):
        store.write(name, rule([scores]))


def _shown(rule: str, weights: list[list[float]]) -> str:
    if rule in ("pick", "route"):
        return f"{sum(map(bool, weights[1])):.0f} of {CLASSES} classes of the second annotator"
    return "weights " + " and ".join(f"{row[0]:.2f}" for row in weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/voc-animals"))
    parser.add_argument("--work", type=Path, required=True, help="folder for maps, to begin with")
    parser.add_argument("--measure", type=int, default=590, help="photos to measure on")
    options = parser.parse_args()
    data, work = options.data, options.work
    lists = {path.stem: path.read_text().split() for path in (data / "splits").glob("*.txt")}
    labelled = lists.pop("labeled_92")
    unseen = sorted(name for names in lists.values() for name in names)
    order = np.random.default_rng(0).permutation(len(unseen))[: options.measure]
    parts = {
        "fit": labelled[::2],
        "calibrate": labelled[1::2],
        "measure": sorted(unseen[i] for i in order),
    }
    work.mkdir(parents=True, exist_ok=True)
    for part, names in parts.items():
        (work / f"{part}.txt").write_text("".join(f"{name}\n" for name in names))
    everyone = [name for names in parts.values() for name in names]
    (work / "all.txt").write_text("".join(f"{name}\n" for name in everyone))
    second_annotator(data, work / "second", parts["fit"], everyone[len(parts["fit"]) :])
    both = ("--maps", data / "probs", work / "second", "--ids", work / "all.txt")
    fitted = ("--fit-ids", work / "fit.txt", "--labels", data / "labels")
    certifying = (*fitted, "--epsilon", 0.3, "--delta", 0.2)
    for rule, more in (
        ("mean", ()), ("pick", fitted), ("route", certifying), ("stack", fitted),
    ):  # fmt: skip
        done = run("combine", *both, "--rule", rule, *more, "--out", work / rule)
        certified = f", certified {done['certified']}" if "certified" in done else ""
        print(f"{rule}: {_shown(rule, done['weights'])}{certified}")
    stacked_alone(data, work / "alone", parts["fit"], everyone[len(parts["fit"]) :])
    print(", ".join(f"{part} {len(names)}" for part, names in parts.items()), "photos\n")
    print("| maps | raw mIoU | raw recall | .2, foreground first: mIoU | recall |")
    print("| --- | --- | --- | --- | --- |")
    sources = {
        "first": data / "probs",
        **{n: work / n for n in ("second", "mean", "pick", "route", "stack", "alone")},
    }
    for name, maps in sources.items():
        row = " | ".join(f"{100 * value:.1f}" for value in measured(data, maps, work))
        print(f"| {name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
