"""Losses of libraries with an ignore index, and those by name, on every kind of head.

    python benchmarks/loss_kinds.py

Each loss with two fifths of the pixels dropped, over what it is on the kept pixels cut out: 1 where
it is right. Kinds: an image, a volume, a head of one channel, and a sigmoid for each class. Then
the largest gradient at a dropped pixel of all kinds, the value where nothing is kept, whether a
value is read from the device (on one that has none, where that fails), and the loss of an image
whose scores are all alike and whose pixels are all of the first of four classes.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any

import torch
from loss_classes import IGNORED, without_its_init
from torch import Tensor
from torch.nn import functional as F

from conformal_plugin import ConformalSupervision
from conformal_plugin.errors import MissingExtraError

KINDS = {"image": (4, (12, 10)), "volume": (4, (3, 8, 6)), "one": (1, (12, 10))}
KINDS["each"] = KINDS["image"]
MORE = ("dropped", "nothing", "one class", "reads")

Loss = Callable[[Tensor, Tensor], Tensor]


def by_name(name: str, kind: str) -> Loss:
    """A loss by name, as a mean over the kept pixels."""
    sigmoid = kind in ("one", "each")
    if sigmoid:
        library, _, loss = name.rpartition(":")
        name = f"{library}:sigmoid-{loss}".lstrip(":") if loss != "ce" else "bce"
    return ConformalSupervision(name, denominator="kept")


def of_smp(name: str, kind: str) -> Loss:
    """Of segmentation_models.pytorch."""
    with without_its_init("segmentation_models_pytorch"):
        losses: Any = importlib.import_module("segmentation_models_pytorch.losses")
    mode = {"one": "binary", "each": "multilabel"}.get(kind, "multiclass")
    loss = getattr(losses, name)(mode, ignore_index=IGNORED)
    if kind != "each":
        return lambda logits, labels: loss(logits, labels)

    def each(logits: Tensor, labels: Tensor) -> Tensor:
        kept = labels != IGNORED
        truth = F.one_hot(torch.where(kept, labels, 0), logits.shape[1]).movedim(-1, 1)
        return loss(logits, torch.where(kept.unsqueeze(1), truth, IGNORED))

    return each


def of_monai(name: str, kind: str) -> Loss:
    """Of MONAI."""
    losses: Any = importlib.import_module("monai.losses")
    sigmoid = kind in ("one", "each")
    options: dict[str, Any] = {"use_softmax": not sigmoid}
    if name != "FocalLoss":
        options = {"sigmoid" if sigmoid else "softmax": True, "batch": True}
    loss = getattr(losses, name)(to_onehot_y=kind != "one", ignore_index=IGNORED, **options)
    return lambda logits, labels: loss(logits, labels.unsqueeze(1))


LOSSES: tuple[tuple[str, Callable[[str, str], Loss], tuple[str, ...]], ...] = (
    ("by name", by_name, ("ce", "focal", "dice")),
    ("by name", by_name, ("smp:dice", "smp:jaccard", "smp:tversky")),
    ("by name", by_name, ("monai:dice", "monai:jaccard", "monai:tversky")),
    ("by name", by_name, ("monai:generalized-dice",)),
    ("smp", of_smp, ("DiceLoss", "JaccardLoss", "TverskyLoss", "FocalLoss", "LovaszLoss")),
    ("MONAI", of_monai, ("DiceLoss", "TverskyLoss", "FocalLoss")),
)


def data(channels: int, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Logits, and labels of which some are dropped."""
    labels = torch.randint(0, max(2, channels), (2, *size))
    labels[torch.rand(labels.shape) < 0.4] = IGNORED
    return torch.randn(2, channels, *size), labels


def tried(loss: Loss, channels: int, size: tuple[int, ...]) -> tuple[float, float, float]:
    """The value over that of the kept pixels, the gradient at dropped ones, and of nothing kept."""
    logits, labels = data(channels, size)
    kept = labels != IGNORED
    ones = (1,) * (len(size) - 1)
    cut = logits.movedim(1, 0)[:, kept].reshape(1, channels, -1, *ones)
    expected = float(loss(cut, labels[kept].reshape(1, -1, *ones)))
    given = logits.clone().requires_grad_()
    found = loss(given, labels)
    found.backward()
    assert given.grad is not None
    at_dropped = float(given.grad.movedim(1, -1)[~kept].abs().max())
    nothing = float(loss(logits, torch.full_like(labels, IGNORED)).mean())
    return float(found) / expected, at_dropped, nothing


def reads_back(loss: Loss) -> str:
    """Whether a step reads a value, or how many there are, from the device."""
    logits, labels = (tensor.to("meta") for tensor in data(*KINDS["image"]))
    try:
        loss(logits.requires_grad_(), labels).mean().backward()
    except (NotImplementedError, RuntimeError):  # there is nothing to read on this one
        return "yes"
    return "no"


def of_one_class(loss: Loss) -> float:
    """Where the scores are all alike and the pixels of one class."""
    channels, size = KINDS["image"]
    zeros = torch.zeros(1, *size, dtype=torch.long)
    return float(loss(torch.zeros(1, channels, *size), zeros))


def main() -> None:
    warnings.simplefilter("ignore")  # of libraries, about one channel
    print(f"{'':32}" + "".join(f"{kind:>10}" for kind in (*KINDS, *MORE)))
    for library, make, names in LOSSES:
        for name in names:
            torch.manual_seed(0)
            found = {}
            for kind, shapes in KINDS.items():
                try:
                    found[kind] = tried(make(name, kind), *shapes)
                except (ModuleNotFoundError, MissingExtraError) as error:
                    print(f"{library} {name} is not here: {str(error)[:70]}")
                    break
                except (IndexError, RuntimeError) as error:  # of the library's own
                    found[kind] = (float("nan"),) * 3
                    print(f"{library} {name}, {kind}: {type(error).__name__}: {str(error)[:60]}")
            else:
                columns = list(zip(*found.values()))
                of_image = make(name, "image")
                shown = (*columns[0], max(columns[1]), max(columns[2], key=abs))
                row = "".join(f"{value:10.4f}" for value in (*shown, of_one_class(of_image)))
                row += f"{reads_back(of_image):>10}"
                print(f"{library + ' ' + name:32}{row}", flush=True)
                continue
            break


if __name__ == "__main__":
    main()
