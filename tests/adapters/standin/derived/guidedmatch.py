"""A stand-in for a method derived from UniMatch: its losses and samples are of its own.

The total is added up under a name of its own, before the line with the scaler; label and confidence
are made in both branches of an ``if``; and two strong views teach each other with labels of theirs.
"""

import torch
from dataset.semi import SemiDataset
from standin_run import Network, SummaryWriter, distributed, read_arguments, resume, save, start
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler
from util.train_helper import paste_, pasted, where_sure


def main():
    args, cfg = read_arguments()
    start()
    writer = SummaryWriter(args.save_path)
    amp, thresh = cfg.get("amp", False), cfg["conf_thresh"]

    model = distributed(Network(cfg))
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg["lr"], momentum=0.9)
    if hasattr(torch.amp, "GradScaler"):  # since torch 2.3
        scaler = torch.amp.GradScaler("cpu", enabled=amp)
    else:
        scaler = torch.cuda.amp.GradScaler(enabled=amp)
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
    batches = {"batch_size": cfg["batch_size"], "drop_last": True}
    trainloader_l = DataLoader(trainset_l, sampler=DistributedSampler(trainset_l), **batches)
    trainloader_u = DataLoader(trainset_u, sampler=DistributedSampler(trainset_u), **batches)

    epoch = resume(args.save_path, model, optimizer)
    for epoch in range(epoch + 1, cfg["epochs"]):  # noqa: B020
        trainloader_l.sampler.set_epoch(epoch)
        trainloader_u.sampler.set_epoch(epoch)

        loader = zip(trainloader_l, trainloader_u, trainloader_u)

        for i, (
            (img_x, mask_x),
            (img_u_w, img_u_s1, img_u_s2, ignore_mask, box1, _, _),
            (img_u_w_mix, img_u_s1_mix, _, ignore_mask_mix, _, _, _),
        ) in enumerate(loader):
            paste_(img_u_s1, img_u_s1_mix, box1)
            if amp:
                pred_u_w_mix = model(img_u_w_mix).detach()
                conf_mix, mask_mix = pred_u_w_mix.softmax(dim=1).max(dim=1)
            else:
                with torch.no_grad():
                    pred_u_w_mix = model(img_u_w_mix).detach()
                    conf_mix, mask_mix = pred_u_w_mix.softmax(dim=1).max(dim=1)

            num_lb, num_ulb = len(img_x), len(img_u_w)
            preds = model(torch.cat((img_x, img_u_w)))
            pred_x, pred_u_w = preds.split([num_lb, num_ulb])
            pred_u_s1, pred_u_s2 = model(torch.cat((img_u_s1, img_u_s2))).chunk(2)
            conf_u_w = pred_u_w.detach().softmax(dim=1).max(dim=1)[0]
            mask_u_w = pred_u_w.detach().argmax(dim=1)

            mask1, conf1 = pasted(mask_u_w, mask_mix, box1), pasted(conf_u_w, conf_mix, box1)
            ignore1 = pasted(ignore_mask, ignore_mask_mix, box1)
            loss_x = criterion_l(pred_x, mask_x)
            loss_s1 = where_sure(criterion_u(pred_u_s1, mask1), conf1, ignore1, thresh)
            loss_s2 = where_sure(criterion_u(pred_u_s2, mask_u_w), conf_u_w, ignore_mask, thresh)
            mask_other = pred_u_s2.detach().argmax(dim=1)
            loss_each_other = criterion_l(pred_u_s1, mask_other)
            total_loss = (loss_x + loss_s1 + loss_s2 + 0.1 * loss_each_other) / 2.0

            optimizer.zero_grad()
            if amp:
                loss = scaler.scale(total_loss)
                loss.backward()
                scaler.step(optimizer)
                scaler.update()
            else:
                total_loss.backward()
                optimizer.step()

            step = epoch * len(trainloader_u) + i
            writer.add_scalars(
                step,
                {
                    "train/loss_all": total_loss.item(),
                    "train/loss_x": loss_x.item(),
                    "train/loss_s": loss_s1.item() + loss_s2.item(),
                },
            )

        save(args.save_path, model, optimizer, epoch)


if __name__ == "__main__":
    main()
