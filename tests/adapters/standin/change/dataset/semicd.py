"""A stand-in for a change-detection data set: two photos of one place a sample."""

import os
import random

import numpy as np
import standin_semi
import torch
from PIL import Image, ImageOps
from standin_transform import jitter, normalize, obtain_cutmix_box


def crop(img_a, img_b, mask, size, ignore_value=255):
    wide = (max(mask.width, size), max(mask.height, size))
    x, y = random.randint(0, wide[0] - size), random.randint(0, wide[1] - size)

    def cut(image, fill):
        canvas = Image.new(image.mode, wide, fill)
        canvas.paste(image, (0, 0))
        return canvas.crop((x, y, x + size, y + size))

    return cut(img_a, 0), cut(img_b, 0), cut(mask, ignore_value)


def vflip(img_a, img_b, mask):
    if random.random() < 0.5:
        return tuple(ImageOps.flip(one) for one in (img_a, img_b, mask))
    return img_a, img_b, mask


class SemiCDDataset(standin_semi.SemiDataset):
    def __getitem__(self, item):
        photo, mask = self.ids[item].split(" ")
        img_a = self.photo(photo)
        img_b = ImageOps.invert(img_a)
        mask = Image.open(os.path.join(self.root, mask))
        img_a, img_b, mask = crop(img_a, img_b, mask, self.size)
        img_a, img_b, mask = vflip(img_a, img_b, mask)
        mask = torch.from_numpy(np.array(mask)).long()
        if self.mode == "train_l":
            return normalize(img_a), normalize(img_b), mask
        ignore_mask = torch.where(mask == 255, 255, 0)
        strong = normalize(jitter(img_a)), normalize(jitter(img_b))
        box = obtain_cutmix_box(self.size)
        return normalize(img_a), normalize(img_b), *strong, ignore_mask, box
