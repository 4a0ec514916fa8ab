"""A stand-in for UniMatch's fixmatch.py: its names and contract, lines of our own."""

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
    where_sure,
)
from torch import nn


def main():
    args, cfg = read_arguments()
    start()
    writer = SummaryWriter(args.save_path)

    model = distributed(Network(cfg))
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg["lr"], momentum=0.9)
    criterion_l = nn.CrossEntropyLoss(ignore_index=255)
    criterion_u = nn.CrossEntropyLoss(reduction="none")

    trainset_u = SemiDataset(
        cfg["dataset"], cfg["data_root"], "train_u", cfg["crop_size"], args.unlabeled_id_path
    )
    trainloader_l, trainloader_u = make_loaders(SemiDataset, trainset_u, args, cfg)

    epoch = resume(args.save_path, model, optimizer)
    for epoch in range(epoch + 1, cfg["epochs"]):  # noqa: B020
        trainloader_l.sampler.set_epoch(epoch)
        trainloader_u.sampler.set_epoch(epoch)

        loader = zip(trainloader_l, trainloader_u, trainloader_u)

        for i, (
            (img_x, mask_x),
            (img_u_w, img_u_s, _, ignore_mask, cutmix_box, _),
            (img_u_w_mix, img_u_s_mix, _, ignore_mask_mix, _, _),
        ) in enumerate(loader):
            with torch.no_grad():
                conf_u_w_mix, mask_u_w_mix = model(img_u_w_mix).softmax(1).max(1)
            box = cutmix_box == 1
            img_u_s = torch.where(box.unsqueeze(1), img_u_s_mix, img_u_s)

            pred_x, pred_u_w = model(torch.cat((img_x, img_u_w))).split([len(img_x), len(img_u_w)])
            pred_u_s = model(img_u_s)
            conf_u_w, mask_u_w = pred_u_w.detach().softmax(1).max(1)

            mask_mixed = torch.where(box, mask_u_w_mix, mask_u_w)
            conf_mixed = torch.where(box, conf_u_w_mix, conf_u_w)
            ignore_mixed = torch.where(box, ignore_mask_mix, ignore_mask)

            loss_x = criterion_l(pred_x, mask_x)
            loss_u_s = criterion_u(pred_u_s, mask_mixed)
            loss_u_s = where_sure(loss_u_s, conf_mixed, ignore_mixed, cfg)

            loss = (loss_x + loss_u_s) / 2.0

            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

            step = epoch * len(trainloader_u) + i
            writer.add_scalars(
                step,
                {
                    "train/loss_all": loss.item(),
                    "train/loss_x": loss_x.item(),
                    "train/loss_s": loss_u_s.item(),
                },
            )

        save(args.save_path, model, optimizer, epoch)


if __name__ == "__main__":
    main()
