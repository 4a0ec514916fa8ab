"""What the scripts of all stand-ins share: arguments, ranks, network, loaders, log, checkpoint."""

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


def start():
    """Join the other ranks, and say how many there are."""
    world_size = int(os.environ["WORLD_SIZE"])
    dist.init_process_group(
        "gloo",
        init_method=f"file://{os.environ['STANDIN_MEETING']}",
        rank=int(os.environ["RANK"]),
        world_size=world_size,
        timeout=timedelta(seconds=60),
    )
    logger = logging.getLogger("global")
    logger.setLevel(logging.INFO)
    logger.info(f"{world_size} ranks")


class SummaryWriter:
    """Of rank 0: a line ``STEP TAG VALUE`` in ``scalars.txt``, the value to the last bit."""

    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.path = os.path.join(folder, "scalars.txt")

    def add_scalars(self, step, values):
        if dist.get_rank() == 0:
            with open(self.path, "a") as file:
                file.writelines(f"{step} {tag} {value!r}\n" for tag, value in values.items())


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


def make_loaders(dataset, trainset_u, args, cfg):
    """Of the labelled photos, which are as many as the unlabelled ones, and of these."""
    trainset_l = dataset(
        cfg["dataset"],
        cfg["data_root"],
        "train_l",
        cfg["crop_size"],
        args.labeled_id_path,
        nsample=len(trainset_u.ids),
    )
    return _loader(trainset_l, cfg), _loader(trainset_u, cfg)


def _loader(dataset, cfg):
    return DataLoader(
        dataset,
        batch_size=cfg["batch_size"],
        num_workers=cfg.get("workers", 0),
        drop_last=True,
        sampler=DistributedSampler(dataset),
    )


def where_sure(values, conf, ignored, cfg):
    """The sum of the values where the model is sure of its label, over the pixels of the photos."""
    valid = ignored != 255
    return (values * ((conf >= cfg["conf_thresh"]) & valid)).sum() / valid.sum().item()


def follow(model_ema, model):
    """Move the teacher a little towards the student."""
    with torch.no_grad():
        for param, param_ema in zip(model.parameters(), model_ema.parameters()):
            param_ema.lerp_(param, 0.1)


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
    """Rank 0 writes the checkpoint."""
    if dist.get_rank() == 0:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
        torch.save(state, os.path.join(folder, "latest.pth"))
