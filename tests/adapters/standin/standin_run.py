"""What a stand-in host keeps beside its scripts: arguments, log, ranks, loaders, a network."""

from __future__ import annotations

import argparse
import logging
import os
from datetime import timedelta

import torch
import torch.distributed as dist
import yaml
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler


def read_arguments():
    parser = argparse.ArgumentParser()
    for name in ("--config", "--labeled-id-path", "--unlabeled-id-path", "--save-path"):
        parser.add_argument(name, required=True)
    args = parser.parse_args()
    with open(args.config) as file:
        return args, yaml.load(file, Loader=yaml.SafeLoader)


def init_log(name, level=logging.INFO):
    logger = logging.getLogger(name)
    logger.setLevel(level)
    return logger


def setup_distributed():
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group(
        "gloo",
        init_method=f"file://{os.environ['STANDIN_MEETING']}",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=60),
    )
    return rank, world_size


class SummaryWriter:
    """A line ``STEP TAG VALUE`` in ``scalars.txt``, the value to the last bit."""

    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.path = os.path.join(folder, "scalars.txt")

    def add_scalar(self, tag, value, step):
        with open(self.path, "a") as file:
            file.write(f"{step} {tag} {float(value)!r}\n")


class Network(nn.Module):
    """Logits of each pixel, with the further outputs that the hosts' networks have."""

    def __init__(self, cfg):
        super().__init__()
        self.backbone = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Conv2d(8, cfg["nclass"], 1)

    def forward(self, x, need_fp=False, comp_drop=False):
        features = self.backbone(x).relu()
        if comp_drop:
            return self.head(F.dropout2d(features, 0.5))
        out = self.head(features)
        return (out, self.head(F.dropout2d(features, 0.5))) if need_fp else out


def distributed(model):
    return DistributedDataParallel(model, find_unused_parameters=False)


def make_loader(dataset, cfg):
    return DataLoader(
        dataset,
        batch_size=cfg["batch_size"],
        num_workers=cfg.get("workers", 0),
        drop_last=True,
        sampler=DistributedSampler(dataset),
    )


def resume(folder, model, optimizer):
    """The last epoch that the checkpoint in the folder has seen; -1 where there is none."""
    path = os.path.join(folder, "latest.pth")
    if not os.path.exists(path):
        return -1
    checkpoint = torch.load(path, weights_only=True)
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    return checkpoint["epoch"]


def save(folder, model, optimizer, epoch):
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    torch.save(state, os.path.join(folder, "latest.pth"))
