"""Trains one student in two stages, step by step, and scores it on the test photos."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from material import IGNORE, Split
from students import PretrainedStudent, SmallStudent
from torch import Tensor, nn

from conformal_plugin import ConformalSupervision, TwoStage

__all__ = ["STUDENTS", "Recipe", "State", "build_student", "confusion", "mean_iou", "train"]

STUDENTS = {"small": SmallStudent, "pretrained": PretrainedStudent}
# The random weights of a new student come from torch's one global generator.
_BUILDING = threading.Lock()

Bytes = npt.NDArray[np.uint8]
State = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """How a student is trained; the same for every row of the table."""

    student: str
    steps: int
    crop: int  # pixels, height and width of a training crop
    zoom: tuple[float, float]  # a crop shows crop/zoom pixels of the photo
    lr: float
    new_lr: float  # learning rate of the layers without pretrained weights
    batch: int = 8  # labelled images a step, and as many unlabelled ones
    weight_decay: float = 1e-2
    warmup: int = 15

    @property
    def stage1(self) -> int:
        """Steps of stage I where there is a stage II: three quarters, as the paper's 60 + 20."""
        return self.steps * 3 // 4

    def pace(self, step: int) -> float:
        """Factor of the learning rate: a linear warm-up, then a polynomial decay."""
        return min(1.0, (step + 1) / self.warmup) * (1 - step / self.steps) ** 0.9


def build_student(recipe: Recipe, num_classes: int, seed: int) -> nn.Module:
    """A new student; the seed fixes its random weights."""
    with _BUILDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student: nn.Module = STUDENTS[recipe.student](num_classes)
    return student.to(memory_format=torch.channels_last)  # a third faster on a CPU


def train(
    student: nn.Module,
    recipe: Recipe,
    labelled: Split,
    unlabelled: Sequence[Bytes],
    pseudo: Sequence[Bytes] | None,
    *,
    seed: int,
    schedule: TwoStage,
    until: int,
    resume: State | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> State:
    """Train ``student`` in place up to step ``until`` and return the state to go on from.

    ``pseudo`` holds the label maps of the unlabelled photos that stage I learns from; None leaves
    the unlabelled photos out altogether. What a step sees depends on the seed and its number
    alone, so that rows meet the same photos and a forked run equals an uninterrupted one.
    """
    optimizer = torch.optim.AdamW(_groups(student, recipe), weight_decay=recipe.weight_decay)
    first = 0
    if resume is not None:
        student.load_state_dict(resume["student"])
        optimizer.load_state_dict(copy.deepcopy(resume["optimizer"]))
        first = resume["step"]
    criterion = nn.CrossEntropyLoss(ignore_index=IGNORE)
    supervise = ConformalSupervision(criterion, schedule=schedule, ignore_index=IGNORE)
    student.train()
    for step in range(first, until):
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * recipe.pace(step)
        rng = np.random.default_rng([seed, step])
        photos, masks = _crops(labelled.photos, labelled.truth, recipe, rng)
        photos = _recoloured(photos, rng)
        if pseudo is None:
            loss = criterion(student(photos), masks)
        else:
            plain, given = _crops(unlabelled, pseudo, recipe, rng)
            both = torch.cat([photos, _recoloured(plain, rng)])
            if schedule.stage(step) == 2:
                given = _own_labels(student, plain)
            logits = student(both)
            labelled_loss = criterion(logits[: len(photos)], masks)
            if schedule.stage(step) == 1:
                unlabelled_loss = supervise(logits[len(photos) :], given, epoch=step)
            else:
                unlabelled_loss = criterion(logits[len(photos) :], given)
            loss = schedule.blend(labelled_loss, unlabelled_loss, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        on_step()
    # A copy: a state must stay as it is when its student, or an optimizer that loads it, goes on.
    return copy.deepcopy(
        {"student": student.state_dict(), "optimizer": optimizer.state_dict(), "step": until}
    )


@torch.no_grad()
def confusion(student: nn.Module, split: Split, num_classes: int) -> npt.NDArray[np.int64]:
    """Count pixels by true class (rows) and predicted class (columns), ``(K, K)``."""
    student.eval()
    counts = np.zeros((num_classes, num_classes), np.int64)
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, photo in enumerate(split.photos):
        by_shape.setdefault(photo.shape, []).append(index)
    for shape, indices in by_shape.items():
        for start in range(0, len(indices), 16):
            some = indices[start : start + 16]
            photos = torch.from_numpy(np.stack([split.photos[i] for i in some])).float() / 255
            # The encoder halves five times: resize to the next multiple of 32 and back.
            size = [-(-side // 32) * 32 for side in shape[1:]]
            fitted = F.interpolate(photos, size=size, mode="bilinear", align_corners=False)
            logits = student(fitted.contiguous(memory_format=torch.channels_last))
            logits = F.interpolate(logits, size=shape[1:], mode="bilinear", align_corners=False)
            predicted = logits.argmax(1).numpy()
            true = np.stack([split.truth[i] for i in some]).astype(np.int64)
            valid = true != IGNORE
            pairs = true[valid] * num_classes + predicted[valid]
            counts += np.bincount(pairs, minlength=num_classes**2).reshape(counts.shape)
    return counts


def mean_iou(counts: npt.NDArray[np.int64], classes: Sequence[int] | None = None) -> float:
    """Mean intersection over union of ``classes``; without them, of all classes in the truth."""
    present = np.flatnonzero(counts.sum(1))
    chosen = present if classes is None else np.intersect1d(present, classes)
    hits = np.diag(counts)
    iou = hits / np.maximum(counts.sum(0) + counts.sum(1) - hits, 1)
    return float(iou[chosen].mean())


def _groups(student: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Pretrained layers learn at ``lr``, the others at ``new_lr``."""
    old: list[nn.Parameter] = []
    new: list[nn.Parameter] = []
    for name, parameter in student.named_parameters():
        pretrained = recipe.student == "pretrained" and name.startswith(("stem", "blocks"))
        (old if pretrained else new).append(parameter)
    return [
        {"params": parameters, "lr": lr, "base_lr": lr}
        for parameters, lr in ((old, recipe.lr), (new, recipe.new_lr))
        if parameters
    ]


def _crops(
    photos: Sequence[Bytes], masks: Sequence[Bytes], recipe: Recipe, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Random photos, zoomed, cropped and mirrored together with their label maps."""
    crops, labels = [], []
    for index in rng.integers(0, len(photos), recipe.batch):
        photo, mask = photos[index], masks[index]
        # A window larger than a narrow photo is cut to it and stretched, so nothing is padded.
        window = round(recipe.crop / rng.uniform(*recipe.zoom))
        height, width = (min(window, side) for side in mask.shape)
        top = rng.integers(0, mask.shape[0] - height + 1)
        left = rng.integers(0, mask.shape[1] - width + 1)
        step = -1 if rng.random() < 0.5 else 1
        photo = photo[:, top : top + height, left : left + width][..., ::step]
        mask = mask[top : top + height, left : left + width][..., ::step]
        crops.append(_resized(torch.from_numpy(photo.copy()).float(), recipe.crop, "bilinear"))
        labels.append(_resized(torch.from_numpy(mask.copy())[None].float(), recipe.crop, "nearest"))
    stacked = torch.stack(crops).contiguous(memory_format=torch.channels_last)
    return stacked / 255, torch.stack(labels)[:, 0].long()


def _resized(image: Tensor, side: int, mode: str) -> Tensor:
    if image.shape[1:] == (side, side):
        return image
    corners = False if mode == "bilinear" else None
    return F.interpolate(image[None], size=(side, side), mode=mode, align_corners=corners)[0]


def _recoloured(photos: Tensor, rng: np.random.Generator) -> Tensor:
    """Change brightness, contrast and the balance of the colours of each photo."""
    shape = (len(photos), 1, 1, 1)
    contrast = torch.from_numpy(rng.uniform(0.7, 1.3, shape).astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-0.15, 0.15, shape).astype(np.float32))
    tint = torch.from_numpy(rng.uniform(0.9, 1.1, (len(photos), 3, 1, 1)).astype(np.float32))
    return (((photos - 0.5) * contrast + 0.5 + shift) * tint).clamp(0, 1)


@torch.no_grad()
def _own_labels(student: nn.Module, photos: Tensor) -> Tensor:
    """Stage II: the student's own most probable class at every pixel."""
    student.eval()
    labels = student(photos).argmax(1)
    student.train()
    return labels
