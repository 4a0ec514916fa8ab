"""The data set of a stand-in for AllSpark: an unlabelled sample is the bare photo."""

import os

import numpy as np
import standin_semi
import torch
from PIL import Image
from standin_transform import crop, hflip, jitter, normalize, resize


class SemiDataset(standin_semi.SemiDataset):
    def __getitem__(self, item):
        photo, label = self.ids[item].split(" ")
        img = Image.open(os.path.join(self.root, photo)).convert("RGB")
        mask = Image.fromarray(np.array(Image.open(os.path.join(self.root, label))))

        img, mask = resize(img, mask, (0.5, 2.0))
        img, mask = crop(img, mask, self.size, 254 if self.mode == "train_u" else 255)
        img, mask = hflip(img, mask, p=0.5)
        if self.mode == "train_u":
            return normalize(img)
        return normalize(jitter(img)), torch.from_numpy(np.array(mask)).long()
