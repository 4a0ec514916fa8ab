"""A stand-in for a data set of medical slices: arrays, and photo and mask resized one by one."""

import os
import random

import numpy as np
import standin_semi
import torch
from PIL import Image
from scipy.ndimage import zoom
from standin_transform import obtain_cutmix_box


def rot_flip(img, mask):
    k, axis = np.random.randint(0, 4), np.random.randint(0, 2)
    img, mask = np.rot90(img, k), np.rot90(mask, k)
    return np.flip(img, axis=axis).copy(), np.flip(mask, axis=axis).copy()


class SliceDataset(standin_semi.SemiDataset):
    def __getitem__(self, item):
        photo, mask = self.ids[item].split(" ")
        img = np.asarray(self.photo(photo).convert("L"), dtype=np.float32) / 255
        mask = np.asarray(Image.open(os.path.join(self.root, mask)))
        if random.random() > 0.5:
            img, mask = rot_flip(img, mask)
        height, width = img.shape
        img = zoom(img, (self.size / height, self.size / width), order=0)
        mask = zoom(mask, (self.size / height, self.size / width), order=0)
        if self.mode == "train_l":
            return torch.from_numpy(img)[None].expand(3, -1, -1), torch.from_numpy(mask).long()
        img = torch.from_numpy((img * 255).astype(np.uint8))[None].float() / 255
        strong = img * random.uniform(0.5, 1.5)
        return img.expand(3, -1, -1), strong.expand(3, -1, -1), obtain_cutmix_box(self.size)
