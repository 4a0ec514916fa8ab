"""A stand-in for AllSpark's train_baseline_semi.py: its names and contract, lines of our own."""

import torch
from dataset.semi import SemiDataset
from standin_run import (
    Network,
    SummaryWriter,
    distributed,
    make_loaders,
    read_arguments,
    resume,
    save,
    start,
)
from torch import nn


def main():
    args, cfg = read_arguments()
    start()
    writer = SummaryWriter(args.save_path)

    model = distributed(Network(cfg))
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg["lr"], momentum=0.9)
    criterion_l = nn.CrossEntropyLoss(ignore_index=255)
    criterion_u = nn.CrossEntropyLoss(ignore_index=255)

    trainset_u = SemiDataset(
        cfg["dataset"], cfg["data_root"], "train_u", cfg["crop_size"], args.unlabeled_id_path
    )
    trainloader_l, trainloader_u = make_loaders(SemiDataset, trainset_u, args, cfg)

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

            step = epoch * len(trainloader_u) + i
            writer.add_scalars(
                step,
                {
                    "train/loss_all": loss.item(),
                    "train/loss_x": loss_x.item(),
                    "train/loss_w_fp": loss_u_w_fp.item(),
                },
            )

        save(args.save_path, model, optimizer, epoch)


if __name__ == "__main__":
    main()
