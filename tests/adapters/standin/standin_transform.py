"""A stand-in for a host's transforms: same names, arguments, random stream and padding rule."""

from __future__ import annotations

import random

import numpy as np
import torch
from PIL import Image

PHOTO_FILTER = Image.Resampling.BILINEAR


def resize(img, mask, ratio_range):
    longest = max(img.size)
    side = random.randint(int(longest * ratio_range[0]), int(longest * ratio_range[1]))
    size = tuple(max(1, round(s * side / longest)) for s in img.size)
    return img.resize(size, PHOTO_FILTER), mask.resize(size, Image.Resampling.NEAREST)


def crop(img, mask, size, ignore_value=255):
    wide = (max(img.width, size), max(img.height, size))
    x, y = random.randint(0, wide[0] - size), random.randint(0, wide[1] - size)

    def cut(image, fill):
        canvas = Image.new(image.mode, wide, fill)
        canvas.paste(image, (0, 0))
        return canvas.crop((x, y, x + size, y + size))

    return cut(img, 0), cut(mask, ignore_value)


def hflip(img, mask, p=0.5):
    if random.random() < p:
        flip = Image.Transpose.FLIP_LEFT_RIGHT
        return img.transpose(flip), mask.transpose(flip)
    return img, mask


def normalize(img):
    return torch.from_numpy(np.array(img)).permute(2, 0, 1).float() / 255


def jitter(img):
    if random.random() < 0.8:
        gain = random.uniform(0.5, 1.5)
        return img.point(lambda v: min(255, int(v * gain)))
    return img


def obtain_cutmix_box(size, p=0.5):
    box = torch.zeros(size, size)
    if random.random() < p:
        h, w = np.random.randint(1, size, 2)
        y, x = np.random.randint(0, size - h + 1), np.random.randint(0, size - w + 1)
        box[y : y + h, x : x + w] = 1
    return box
