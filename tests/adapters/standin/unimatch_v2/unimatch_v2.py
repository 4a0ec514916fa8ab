"""A stand-in for unimatch_v2.py: its names and contract, lines of our own."""

import logging
from copy import deepcopy

import torch
from dataset.semi import SemiDataset
from standin_run import (
    Network,
    SummaryWriter,
    distributed,
    init_log,
    make_loader,
    read_arguments,
    resume,
    save,
    setup_distributed,
)
from torch import nn


def main():
    args, cfg = read_arguments()
    logger = init_log("global", logging.INFO)
    rank, world_size = setup_distributed()
    logger.info(f"{world_size} ranks")
    writer = SummaryWriter(args.save_path) if rank == 0 else None

    model = distributed(Network(cfg))
    model_ema = deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg["lr"])
    criterion_l = nn.CrossEntropyLoss(ignore_index=255)
    criterion_u = nn.CrossEntropyLoss(reduction="none")

    trainset_u = SemiDataset(
        cfg["dataset"], cfg["data_root"], "train_u", cfg["crop_size"], args.unlabeled_id_path
    )
    trainset_l = SemiDataset(
        cfg["dataset"],
        cfg["data_root"],
        "train_l",
        cfg["crop_size"],
        args.labeled_id_path,
        nsample=len(trainset_u.ids),
    )
    trainloader_l = make_loader(trainset_l, cfg)
    trainloader_u = make_loader(trainset_u, cfg)

    def self_training(pred, mask, conf, ignored, box):
        mask, conf = (torch.where(box, own.flip(0), own) for own in (mask, conf))
        valid = torch.where(box, ignored.flip(0), ignored) != 255
        values = criterion_u(pred, mask) * ((conf >= cfg["conf_thresh"]) & valid)
        return values.sum() / valid.sum().item()

    epoch = resume(args.save_path, model, optimizer)
    for epoch in range(epoch + 1, cfg["epochs"]):  # noqa: B020
        trainloader_l.sampler.set_epoch(epoch)
        trainloader_u.sampler.set_epoch(epoch)

        loader = zip(trainloader_l, trainloader_u)

        for i, (
            (img_x, mask_x),
            (img_u_w, img_u_s1, img_u_s2, ignore_mask, cutmix_box1, cutmix_box2),
        ) in enumerate(loader):
            with torch.no_grad():
                conf_u_w, mask_u_w = model_ema(img_u_w).softmax(1).max(1)
            box1, box2 = cutmix_box1 == 1, cutmix_box2 == 1
            img_u_s1 = torch.where(box1.unsqueeze(1), img_u_s1.flip(0), img_u_s1)
            img_u_s2 = torch.where(box2.unsqueeze(1), img_u_s2.flip(0), img_u_s2)

            pred_x = model(img_x)
            pred_u_s1, pred_u_s2 = model(torch.cat((img_u_s1, img_u_s2)), comp_drop=True).chunk(2)

            loss_x = criterion_l(pred_x, mask_x)
            loss_u_s1 = self_training(pred_u_s1, mask_u_w, conf_u_w, ignore_mask, box1)
            loss_u_s2 = self_training(pred_u_s2, mask_u_w, conf_u_w, ignore_mask, box2)

            loss_u_s = (loss_u_s1 + loss_u_s2) / 2.0

            loss = (loss_x + loss_u_s) / 2.0

            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for param, param_ema in zip(model.parameters(), model_ema.parameters()):
                    param_ema.lerp_(param, 0.1)

            if rank == 0:
                iters = epoch * len(trainloader_u) + i
                writer.add_scalar("train/loss_all", loss.item(), iters)
                writer.add_scalar("train/loss_x", loss_x.item(), iters)
                writer.add_scalar("train/loss_s", loss_u_s.item(), iters)

        if rank == 0:
            save(args.save_path, model, optimizer, epoch)


if __name__ == "__main__":
    main()
