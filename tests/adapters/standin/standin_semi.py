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
        line = self.ids[item]
        img, mask = self.read(*line.split(" "))
        img, mask = resize(img, mask, (0.5, 2.0))
        img, mask = crop(img, mask, self.size, 254 if self.mode == "train_u" else 255)
        img, mask = hflip(img, mask, p=0.5)
        mask = torch.from_numpy(np.array(mask)).long()
        if self.mode == "train_l":
            return self.labelled(img, mask)
        return self.unlabelled(img, torch.where(mask == 254, 255, 0), line)

    def read(self, photo, label):
        """The photo and its mask, as they lie on disk."""
        mask = Image.fromarray(np.array(Image.open(os.path.join(self.root, label))))
        return self.photo(photo), mask

    def photo(self, name):
        return Image.open(os.path.join(self.root, name)).convert("RGB")

    def labelled(self, img, mask):
        return normalize(img), mask

    def unlabelled(self, img, ignore_mask, line):
        """The host's sample of an unlabelled photo, which came with this line of the id list."""
        strong1, strong2 = jitter(img), jitter(img)
        return (
            normalize(img),
            normalize(strong1),
            normalize(strong2),
            ignore_mask,
            obtain_cutmix_box(self.size),
            obtain_cutmix_box(self.size),
        )
