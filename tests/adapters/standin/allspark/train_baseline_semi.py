"""A stand-in for AllSpark's train_baseline_semi.py: its names and contract, lines of our own."""

import logging

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
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg["lr"], momentum=0.9)
    criterion_l = nn.CrossEntropyLoss(ignore_index=255)
    criterion_u = nn.CrossEntropyLoss(ignore_index=255)

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

        for i, ((img_x, mask_x), img_u_s) in enumerate(loader):
            with torch.no_grad():
                pseudo_label = model(img_u_s).argmax(dim=1)

            preds = model(torch.cat((img_x, img_u_s)))
            pred_x, pred_u = preds.split([len(img_x), len(img_u_s)])

            loss_x = criterion_l(pred_x, mask_x)
            loss_u_w_fp = criterion_u(pred_u, pseudo_label)

            loss = (loss_x + loss_u_w_fp) / 2.0

            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

            if rank == 0:
                iters = epoch * len(trainloader_u) + i
                writer.add_scalar("train/loss_all", loss.item(), iters)
                writer.add_scalar("train/loss_x", loss_x.item(), iters)
                writer.add_scalar("train/loss_w_fp", loss_u_w_fp.item(), iters)

        if rank == 0:
            save(args.save_path, model, optimizer, epoch)


if __name__ == "__main__":
    main()
