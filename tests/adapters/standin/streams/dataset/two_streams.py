"""A stand-in for SSL4MIS' data: one set of labelled slices and, behind them, unlabelled ones."""

import itertools
import random

import numpy as np
import standin_semi
import torch
from PIL import Image
from standin_transform import jitter, normalize
from torch.utils.data import Sampler


class BaseDataSets(standin_semi.SemiDataset):
    """Samples are dicts; every slice has a label in its file, looked at or not."""

    def __init__(self, root, size, *id_paths):
        self.root, self.size, self.ids = root, size, []
        for path in id_paths:
            with open(path) as file:
                self.ids += file.read().splitlines()

    def __getitem__(self, item):
        img, label = self.read(*self.ids[item].split(" "))
        turns = random.randrange(4)
        img, label = (
            Image.fromarray(np.rot90(one.resize((self.size, self.size), 0), turns))
            for one in (img, label)
        )
        return {
            "image_weak": normalize(img),
            "image_strong": normalize(jitter(img)),
            "label_aug": torch.from_numpy(np.array(label)).long(),
        }


class TwoStreamBatchSampler(Sampler):
    """So many labelled slices and as many unlabelled ones a batch, these once an epoch."""

    def __init__(self, labelled, unlabelled, size):
        self.labelled, self.unlabelled, self.size = labelled, unlabelled, size

    def __iter__(self):
        first = itertools.cycle(self.labelled)
        second = iter(np.random.permutation(self.unlabelled).tolist())
        for _ in range(len(self)):
            yield [next(stream) for stream in (first, second) for _ in range(self.size)]

    def __len__(self):
        return len(self.unlabelled) // self.size
