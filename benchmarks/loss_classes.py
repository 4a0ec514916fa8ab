"""What loss classes of other libraries make of dropped pixels, behind ``ConformalSupervision``.

    python benchmarks/loss_classes.py

Of each class: its value on the kept pixels cut out, times their share, and with two fifths of the
pixels dropped, or what it is refused with. Libraries that are not installed are named.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from conformal_plugin import ConformalSupervision
from conformal_plugin.errors import ConformalError

IGNORED = 255
SHOWN = 110


class Behind(nn.Module):
    """A loss of MONAI, which takes targets ``(N, 1, H, W)``."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of ``(N, K, H, W)`` and ``(N, H, W)``."""
        found: Tensor = self.loss(logits, target.unsqueeze(1))
        return found


def smp_classes() -> dict[str, Callable[[], nn.Module]]:
    """Of segmentation_models.pytorch, whose package needs more than its losses do."""
    name = "segmentation_models_pytorch"
    found = importlib.util.find_spec(name)
    if found is None:
        raise ModuleNotFoundError(name)
    package = types.ModuleType(name)
    package.__path__ = list(found.submodule_search_locations or ())
    package = sys.modules.setdefault(name, package)
    try:
        losses: Any = importlib.import_module(f"{name}.losses")
    finally:
        if not hasattr(package, "__file__"):  # ours: others shall find the whole one
            del sys.modules[name]
    mode = "multiclass"
    return {
        **{
            f"smp {kind}({given})": lambda kind=kind, options=options: getattr(losses, kind)(
                mode, **options
            )
            for kind in ("DiceLoss", "TverskyLoss", "FocalLoss", "LovaszLoss")
            for given, options in (("ignore_index", {"ignore_index": IGNORED}), ("", {}))
        },
        "smp JaccardLoss()": lambda: losses.JaccardLoss(mode),
        "smp SoftCrossEntropyLoss(ignore_index, smooth)": lambda: losses.SoftCrossEntropyLoss(
            ignore_index=IGNORED, smooth_factor=0.1
        ),
        "smp SoftCrossEntropyLoss(ignore_index)": lambda: losses.SoftCrossEntropyLoss(
            ignore_index=IGNORED
        ),
        "smp MCCLoss()": losses.MCCLoss,
        "smp SoftBCEWithLogitsLoss()": losses.SoftBCEWithLogitsLoss,
    }


def monai_classes() -> dict[str, Callable[[], nn.Module]]:
    """Of MONAI, whose losses make one channel a class of their targets."""
    losses: Any = importlib.import_module("monai.losses")
    given: list[tuple[str, dict[str, Any]]] = [
        ("DiceLoss", {"batch": True}),
        ("DiceLoss", {"batch": True, "ignore_index": IGNORED}),
        ("DiceLoss", {"batch": False, "ignore_index": IGNORED}),
        ("TverskyLoss", {"batch": True, "ignore_index": IGNORED}),
        ("FocalLoss", {"ignore_index": IGNORED}),
        *((f"{kind}Loss", {}) for kind in ("DiceCE", "GeneralizedDice", "DiceFocal")),
        *((f"{kind}Loss", {}) for kind in ("HausdorffDT", "MaskedDice")),
    ]

    def made(kind: str, options: dict[str, Any]) -> Callable[[], nn.Module]:
        softmax = {} if kind == "FocalLoss" else {"softmax": True}
        return lambda: Behind(getattr(losses, kind)(to_onehot_y=True, **softmax, **options))

    return {
        f"MONAI {kind}({', '.join(f'{k}={v}' for k, v in options.items())})": made(kind, options)
        for kind, options in given
    }


def torch_classes() -> dict[str, Callable[[], nn.Module]]:
    """Of torch itself."""
    return {
        "torch CrossEntropyLoss(ignore_index)": lambda: nn.CrossEntropyLoss(ignore_index=IGNORED),
        "torch BCEWithLogitsLoss()": nn.BCEWithLogitsLoss,
        "torch MultiMarginLoss()": nn.MultiMarginLoss,
    }


def behind_supervision(criterion: nn.Module, logits: Tensor, labels: Tensor) -> str:
    """The value, or what is said instead of one."""
    try:
        return f"{float(ConformalSupervision(criterion)(logits, labels)):.6f}"
    except ConformalError as error:
        return f"{type(error).__name__}: {str(error)[:SHOWN]}"


def on_kept_pixels(criterion: nn.Module, logits: Tensor, labels: Tensor) -> str:
    """The value on the kept pixels cut out, times their share."""
    kept = labels != IGNORED
    cut = logits.movedim(1, 0)[:, kept][None, :, :, None]
    try:
        value: Tensor = criterion(cut, labels[kept][None, :, None]).mean()
    except Exception as error:  # of the library's own, whatever it is
        return type(error).__name__
    return f"{float(value * kept.float().mean()):.6f}"


def main() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 4, 12, 10), torch.randint(0, 4, (2, 12, 10))
    labels[torch.rand(labels.shape) < 0.4] = IGNORED
    for library in (smp_classes, monai_classes, torch_classes):
        try:
            classes = library()
        except ModuleNotFoundError as error:
            print(
                f"{library.__name__.removesuffix('_classes')} is not here: no {error.name or error}"
            )
            continue
        for name, make in classes.items():
            try:
                criterion = make()
            except TypeError as error:  # an option that this version lacks
                print(f"{name:48} {error}")
                continue
            found = behind_supervision(criterion, logits, labels)
            print(f"{name:48} {on_kept_pixels(criterion, logits, labels):12} {found}")


if __name__ == "__main__":
    main()
