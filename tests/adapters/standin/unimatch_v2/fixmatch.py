"""A stand-in for UniMatch-V2's fixmatch.py: its names and contract, lines of our own."""

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

    epoch = resume(args.save_path, model, optimizer)
    for epoch in range(epoch + 1, cfg["epochs"]):  # noqa: B020
        trainloader_l.sampler.set_epoch(epoch)
        trainloader_u.sampler.set_epoch(epoch)

        loader = zip(trainloader_l, trainloader_u)

        for i, ((img_x, mask_x), (img_u_w, img_u_s, _, ignore_mask, cutmix_box, _)) in enumerate(
            loader
        ):
            with torch.no_grad():
                conf_u_w, mask_u_w = model_ema(img_u_w).softmax(1).max(1)
            box = cutmix_box == 1
            img_u_s = torch.where(box.unsqueeze(1), img_u_s.flip(0), img_u_s)
            pred_x, pred_u_s = model(torch.cat((img_x, img_u_s))).split([len(img_x), len(img_u_s)])

            mask_mixed = torch.where(box, mask_u_w.flip(0), mask_u_w)
            conf_mixed = torch.where(box, conf_u_w.flip(0), conf_u_w)
            ignore_mixed = torch.where(box, ignore_mask.flip(0), ignore_mask)

            loss_x = criterion_l(pred_x, mask_x)
            loss_u_s = criterion_u(pred_u_s, mask_mixed)
            loss_u_s = loss_u_s * ((conf_mixed >= cfg["conf_thresh"]) & (ignore_mixed != 255))
            loss_u_s = loss_u_s.sum() / (ignore_mixed != 255).sum().item()

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
