"""Trains the embedded default's annotator: a network that has only ever seen studio shots.

Its scores have SEEM's two habits: each foreground class has a sigmoid of its own, so scores do not
sum to 1, and the background is formed afterwards, over-confidently (`score_forms`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scenes import CLASSES, STUDIO, draw_many
from score_forms import with_background
from students import SmallStudent
from torch import nn
from tqdm import tqdm

__all__ = ["annotate", "train_annotator"]

BATCH = 8


def train_annotator(steps: int = 600, scenes: int = 400, seed: int = 7) -> nn.Module:
    """Train on studio shots with one binary cross-entropy per foreground class."""
    photos, labels = (torch.from_numpy(a) for a in draw_many(STUDIO, scenes, seed))
    draw = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SmallStudent(len(CLASSES) - 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, steps)
    for _ in tqdm(range(steps), desc="training the annotator on studio shots", leave=False):
        batch = torch.randint(scenes, (BATCH,), generator=draw)
        present = F.one_hot(labels[batch].long(), len(CLASSES))[..., 1:]
        logits = model(photos[batch] / 255)
        loss = F.binary_cross_entropy_with_logits(logits, present.movedim(-1, 1).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def annotate(model: nn.Module, photos: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the scores ``(N, K, H, W)`` of photos ``(N, 3, H, W)``."""
    foreground = [torch.sigmoid(model(chunk / 255)) for chunk in torch.from_numpy(photos).split(64)]
    return with_background(torch.cat(foreground).numpy())
