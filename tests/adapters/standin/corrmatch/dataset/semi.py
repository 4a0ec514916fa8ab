"""The data set of a stand-in for CorrMatch: one strong view, the photo itself and its id line."""

import os

import numpy as np
import standin_semi
import torch
from PIL import Image
from standin_transform import crop, hflip, jitter, normalize, obtain_cutmix_box, resize


class SemiDataset(standin_semi.SemiDataset):
    def __getitem__(self, item):
        id = self.ids[item]
        photo, label = id.split(" ")
        img = Image.open(os.path.join(self.root, photo)).convert("RGB")
        mask = Image.fromarray(np.array(Image.open(os.path.join(self.root, label))))

        img, mask = resize(img, mask, (0.5, 2.0))
        img, mask = crop(img, mask, self.size, 254 if self.mode == "train_u" else 255)
        img, mask = hflip(img, mask, p=0.5)
        mask = torch.from_numpy(np.array(mask)).long()
        if self.mode == "train_l":
            return normalize(img), mask

        ignore_mask = torch.where(mask == 254, 255, 0)
        box = obtain_cutmix_box(self.size)
        return normalize(img), normalize(jitter(img)), np.array(img), ignore_mask, box, id
