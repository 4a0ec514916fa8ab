"""A stand-in for a host's dataset module: the contract of ``SemiDataset``, in lines of our own."""

from __future__ import annotations

import math
import os

import numpy as np
import torch
from PIL import Image
from standin_transform import crop, hflip, jitter, normalize, obtain_cutmix_box, resize
from torch.utils.data import Dataset


class SemiDataset(Dataset):
    def __init__(self, name, root, mode, size=None, id_path=None, nsample=None):
        self.name, self.root, self.mode, self.size = name, root, mode, size
        with open(id_path) as file:
            self.ids = file.read().splitlines()
        if nsample is not None:
            self.ids = (self.ids * math.ceil(nsample / len(self.ids)))[:nsample]

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, item):
        photo, label = self.ids[item].split(" ")
        img = Image.open(os.path.join(self.root, photo)).convert("RGB")
        mask = Image.fromarray(np.array(Image.open(os.path.join(self.root, label))))

        img, mask = resize(img, mask, (0.5, 2.0))
        img, mask = crop(img, mask, self.size, 254 if self.mode == "train_u" else 255)
        img, mask = hflip(img, mask, p=0.5)
        mask = torch.from_numpy(np.array(mask)).long()
        if self.mode == "train_l":
            return normalize(img), mask

        strong1, strong2 = jitter(img), jitter(img)
        ignore_mask = torch.where(mask == 254, 255, 0)
        return (
            normalize(img),
            normalize(strong1),
            normalize(strong2),
            ignore_mask,
            obtain_cutmix_box(self.size),
            obtain_cutmix_box(self.size),
        )
