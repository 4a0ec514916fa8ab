"""What loss classes of other libraries make of dropped pixels, behind ``ConformalSupervision``.

    python benchmarks/loss_classes.py

Of each class: its value on the kept pixels cut out, of all images together and as the mean over
images, times their share; and its value with two fifths of the pixels dropped, or what it is
refused with. Libraries that are not installed are named.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from conformal_plugin import ConformalSupervision
from conformal_plugin.errors import ConformalError

IGNORED = 255
SHOWN = 110


class Behind(nn.Module):
    """A loss behind a line of one's own, as the messages advise.

    Args:
        loss: the loss.
        channel: whether it takes targets ``(N, 1, H, W)``, as MONAI's do.
        mean: the axes of its values that a mean is taken over; None for no mean.
        **given: passed on with every call.
    """

    def __init__(
        self,
        loss: nn.Module,
        *,
        channel: bool = False,
        mean: tuple[int, ...] | None = None,
        **given: Any,
    ) -> None:
        super().__init__()
        self.loss, self.channel, self.mean, self.given = loss, channel, mean, given

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of ``(N, K, H, W)`` and ``(N, H, W)``."""
        target = target.unsqueeze(1) if self.channel else target
        found: Tensor = self.loss(logits, target, **self.given)
        return found if self.mean is None else found.mean(self.mean)


@contextmanager
def without_its_init(name: str) -> Iterator[None]:
    """Import modules of a package that needs more than they do, without it itself.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    found = importlib.util.find_spec(name)
    if found is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    bare = types.ModuleType(name)
    bare.__path__ = list(found.submodule_search_locations or ())
    ours = sys.modules.setdefault(name, bare) is bare
    try:
        yield
    finally:
        if ours:  # others shall find the whole one
            del sys.modules[name]


def smp_classes() -> dict[str, Callable[[], nn.Module]]:
    """Of segmentation_models.pytorch, whose package needs more than its losses do."""
    with without_its_init("segmentation_models_pytorch"):
        losses: Any = importlib.import_module("segmentation_models_pytorch.losses")
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
        loss = partial(getattr(losses, kind), to_onehot_y=True, **softmax, **options)
        return lambda: Behind(loss(), channel=True)

    return {
        f"MONAI {kind}({', '.join(f'{k}={v}' for k, v in options.items())})": made(kind, options)
        for kind, options in given
    }


def mmseg_classes() -> dict[str, Callable[[], nn.Module]]:
    """Of mmsegmentation, whose models need compiled parts of mmcv that its losses do not."""
    importlib.import_module("mmseg")
    try:
        importlib.import_module("mmcv.ops")
    except ImportError:  # as of mmcv-lite; the focal loss calls one on GPUs alone
        ops: Any = types.ModuleType("mmcv.ops")
        ops.sigmoid_focal_loss = None
        sys.modules["mmcv.ops"] = ops
    with without_its_init("mmseg.models"):
        losses: Any = importlib.import_module("mmseg.models.losses")
    given: list[tuple[str, dict[str, Any]]] = [
        ("CrossEntropyLoss", {}),
        ("CrossEntropyLoss", {"avg_non_ignore": True}),
        ("CrossEntropyLoss", {"use_sigmoid": True}),
        ("DiceLoss", {"use_sigmoid": False}),
        ("DiceLoss", {}),
        ("FocalLoss", {}),
        ("LovaszLoss", {"reduction": "none"}),
        ("TverskyLoss", {}),
        ("OhemCrossEntropy", {"min_kept": 50}),
        ("HuasdorffDisstanceLoss", {}),
        ("BoundaryLoss", {}),
    ]
    by_class = partial(losses.CrossEntropyLoss, use_sigmoid=True, reduction="none")
    by_image = partial(losses.DiceLoss, use_sigmoid=False, reduction="none")
    return {
        **{
            f"mmseg {kind}({', '.join(f'{k}={v}' for k, v in options.items())})": partial(
                getattr(losses, kind), **options
            )
            for kind, options in given
        },
        "mmseg CrossEntropyLoss(use_sigmoid), .mean(1)": lambda: Behind(
            by_class(), mean=(1,), ignore_index=IGNORED
        ),
        "mmseg DiceLoss(use_sigmoid=False), .mean()": lambda: Behind(by_image(), mean=(0,)),
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


def on_kept_pixels(criterion: nn.Module, logits: Tensor, labels: Tensor) -> float:
    """The value on the kept pixels cut out."""
    kept = labels != IGNORED
    cut = logits.movedim(1, 0)[:, kept][None, :, :, None]
    return float(criterion(cut, labels[kept][None, :, None]).mean())


def expected(criterion: nn.Module, logits: Tensor, labels: Tensor) -> list[str]:
    """What to expect: the value on all kept pixels, and the mean over images, times their share."""
    share = float((labels != IGNORED).float().mean())
    images = [(logits[i : i + 1], labels[i : i + 1]) for i in range(len(labels))]
    found = []
    for batches in ([(logits, labels)], images):
        try:
            values = [on_kept_pixels(criterion, *batch) for batch in batches]
            found.append(f"{share * sum(values) / len(values):.6f}")
        except Exception as error:  # of the library's own, whatever it is
            found.append(type(error).__name__)
    return found


def main() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 4, 12, 10), torch.randint(0, 4, (2, 12, 10))
    labels[torch.rand(labels.shape) < 0.4] = IGNORED
    for library in (smp_classes, monai_classes, mmseg_classes, torch_classes):
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
            all_pixels, by_image = expected(criterion, logits, labels)
            found = behind_supervision(criterion, logits, labels)
            print(f"{name:48} {all_pixels:12} {by_image:12} {found}")


if __name__ == "__main__":
    main()
