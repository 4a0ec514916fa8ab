"""Losses of libraries by name: the library's own value, on the kept pixels alone."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from conformal_plugin import ConformalSupervision
from conformal_plugin.errors import MissingExtraError, OptionError

CLASSES, IGNORED = 4, 255
NAMES = (
    *("smp:dice", "smp:jaccard", "smp:tversky"),
    *("monai:dice", "monai:jaccard", "monai:tversky", "monai:generalized-dice"),
)
HEADS = ("image", "volume", "each", "one")


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which MONAI sets, for all to come

    def losses(name: str) -> Any:
        module = {"smp": "segmentation_models_pytorch", "monai": "monai"}[name.partition(":")[0]]
        return pytest.importorskip(f"{module}.losses", reason=f"{module} is not installed")

    return losses


def the_librarys(name: str, head: str, losses: Any) -> nn.Module:
    """The class as its users make it, for what is kept of everything."""
    library, _, kind = name.partition(":")
    sigmoid = head in ("each", "one")
    if library == "smp":
        mode = {"one": "binary", "each": "multilabel"}.get(head, "multiclass")
        return getattr(losses, f"{kind.title()}Loss")(mode)  # type: ignore[no-any-return]
    options: dict[str, Any] = {"sigmoid" if sigmoid else "softmax": True, "batch": True}
    options["to_onehot_y"] = head != "one"
    if kind == "jaccard":
        options["jaccard"] = True
    made = {"tversky": "TverskyLoss", "generalized-dice": "GeneralizedDiceLoss"}
    return getattr(losses, made.get(kind, "DiceLoss"))(**options)  # type: ignore[no-any-return]


def value_of_kept(name: str, head: str, losses: Any, logits: Tensor, labels: Tensor) -> Tensor:
    """What the library gives of the kept pixels, cut out."""
    kept = labels != IGNORED
    ones = (1,) * (labels.ndim - 2)
    cut = logits.movedim(1, 0)[:, kept].reshape(1, logits.shape[1], -1, *ones)
    target = labels[kept].reshape(1, -1, *ones)
    if name.startswith("monai"):
        target = target.unsqueeze(1)
    elif head == "each":
        target = F.one_hot(target, CLASSES).movedim(-1, 1)
    value: Tensor = the_librarys(name, head, losses)(cut, target)
    return value


def batch(head: str) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    size = (3, 5, 4) if head == "volume" else (9, 7)
    channels = 1 if head == "one" else CLASSES
    logits = torch.randn(2, channels, *size, generator=random)
    labels = torch.randint(0, max(2, channels), (2, *size), generator=random)
    labels[torch.rand(labels.shape, generator=random) < 0.4] = IGNORED
    if head == "image":  # a class that the batch does not hold
        labels[labels == 2] = IGNORED
    return logits, labels


def by_name(name: str, head: str) -> ConformalSupervision:
    name = name.replace(":", ":sigmoid-") if head in ("each", "one") else name
    return ConformalSupervision(name, denominator="kept")


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_are_the_librarys(name: str, head: str, libraries: Any) -> None:
    losses = libraries(name)
    logits, labels = batch(head)
    found, wanted = (logits.clone().requires_grad_() for _ in range(2))
    term = by_name(name, head)(found, labels)
    expected = value_of_kept(name, head, losses, wanted, labels)
    torch.testing.assert_close(term, expected)
    term.backward()
    expected.backward()
    assert found.grad is not None
    torch.testing.assert_close(found.grad, wanted.grad)
    assert not found.grad.movedim(1, -1)[labels == IGNORED].any()


@pytest.mark.parametrize("name", ["smp:dice", "smp:jaccard", "smp:tversky", "monai:dice"])
def test_the_librarys_own_ignore_index_gives_the_same(name: str, libraries: Any) -> None:
    losses = libraries(name)
    logits, labels = batch("image")
    try:
        if name == "monai:dice":
            options = {"softmax": True, "to_onehot_y": True, "batch": True}
            loss = losses.DiceLoss(**options, ignore_index=IGNORED)
            labels_of_loss = labels.unsqueeze(1)
        else:
            kind = f"{name.partition(':')[2].title()}Loss"
            loss = getattr(losses, kind)("multiclass", ignore_index=IGNORED)
            labels_of_loss = labels
    except TypeError:
        pytest.skip("the loss has no ignore index in this version")
    expected = loss(logits, labels_of_loss)
    torch.testing.assert_close(by_name(name, "image")(logits, labels), expected)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_kept_half_precision_and_no_value_read(name: str, libraries: Any) -> None:
    libraries(name)
    logits, labels = batch("image")
    supervise = by_name(name, "image")
    given = logits.clone().requires_grad_()
    term = supervise(given, torch.full_like(labels, IGNORED))
    term.backward()
    assert term == 0
    assert given.grad is not None
    assert not given.grad.any()
    half = supervise(logits.half(), labels)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, supervise(logits.half().float(), labels))
    nowhere = logits.to("meta").requires_grad_()  # where reading a value fails
    by_name(name, "image")(nowhere, labels.to("meta")).backward()


@pytest.mark.parametrize("name", NAMES)
def test_they_add_up_with_ours(name: str, libraries: Any) -> None:
    libraries(name)
    logits, labels = batch("image")
    both, ce, alone = (
        ConformalSupervision(one)(logits, labels) for one in (f"ce + {name}", "ce", name)
    )
    torch.testing.assert_close(both, ce + alone)


def test_smps_are_compiled_whole(libraries: Any) -> None:
    libraries("smp:dice")
    logits, labels = batch("image")
    supervise = by_name("smp:dice", "image")
    torch._dynamo.reset()
    compiled = torch.compile(supervise, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(logits, labels), supervise(logits, labels))
    torch._dynamo.reset()


def test_where_a_batch_lacks_classes_smp_takes_them_for_right_and_monai_for_wrong(
    libraries: Any,
) -> None:
    libraries("smp:dice")
    libraries("monai:dice")
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    surely_right = 50 * F.one_hot(labels, CLASSES).movedim(-1, 1).float()
    smp, monai = by_name("smp:dice", "image"), by_name("monai:dice", "image")
    assert [float(loss(surely_right, labels)) for loss in (smp, monai)] == pytest.approx([0, 0])
    unsure = torch.zeros_like(surely_right)
    of_class_0 = 1 - 2 * 0.25 / 1.25
    assert float(smp(unsure, labels)) == pytest.approx(of_class_0 / 4)
    assert float(monai(unsure, labels)) == pytest.approx((of_class_0 + 3) / 4, abs=1e-5)


def test_a_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str, package: str | None = None) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"smp:dice.*conformal-plugin\[losses\]"):
        ConformalSupervision("smp:dice")


@pytest.mark.parametrize("name", ["smp:focal", "smp:ce", "monai:", "smp:sigmoid-sigmoid-dice"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(OptionError, match="segmentation libraries have smp:dice, smp:jaccard"):
        ConformalSupervision(name)
    with pytest.raises(OptionError, match="one head cannot be both"):
        ConformalSupervision("ce+smp:sigmoid-dice")
