"""The data set of a stand-in for UniMatch-V2: it reads no mask of an unlabelled photo."""

import os

import numpy as np
import standin_semi
import torch
from PIL import Image
from standin_transform import crop, hflip, jitter, normalize, obtain_cutmix_box, resize


class SemiDataset(standin_semi.SemiDataset):
    def __getitem__(self, item):
        line = self.ids[item].split(" ")
        img = Image.open(os.path.join(self.root, line[0])).convert("RGB")
        if self.mode == "train_u":
            mask = Image.fromarray(np.zeros(img.size[::-1], dtype=np.uint8))
        else:
            mask = Image.fromarray(np.array(Image.open(os.path.join(self.root, line[1]))))

        img, mask = resize(img, mask, (0.5, 2.0))
        img, mask = crop(img, mask, self.size, 254 if self.mode == "train_u" else 255)
        img, mask = hflip(img, mask, p=0.5)
        mask = torch.from_numpy(np.array(mask)).long()
        if self.mode == "train_l":
            return normalize(img), mask

        strong1, strong2 = jitter(img), jitter(img)
        return (
            normalize(img),
            normalize(strong1),
            normalize(strong2),
            torch.where(mask == 254, 255, 0),
            obtain_cutmix_box(self.size),
            obtain_cutmix_box(self.size),
        )
