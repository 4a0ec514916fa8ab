"""A stand-in for UniMatch's unimatch.py: its names and contract, lines of our own."""

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

    def self_training(pred, mask, conf, ignored):
        return where_sure(criterion_u(pred, mask), conf, ignored, cfg)

    epoch = resume(args.save_path, model, optimizer)
    for epoch in range(epoch + 1, cfg["epochs"]):  # noqa: B020
        trainloader_l.sampler.set_epoch(epoch)
        trainloader_u.sampler.set_epoch(epoch)

        loader = zip(trainloader_l, trainloader_u, trainloader_u)

        for i, (
            (img_x, mask_x),
            (img_u_w, img_u_s1, img_u_s2, ignore_mask, cutmix_box1, cutmix_box2),
            (img_u_w_mix, img_u_s1_mix, img_u_s2_mix, ignore_mask_mix, _, _),
        ) in enumerate(loader):
            with torch.no_grad():
                conf_u_w_mix, mask_u_w_mix = model(img_u_w_mix).softmax(1).max(1)
            box1, box2 = cutmix_box1 == 1, cutmix_box2 == 1
            img_u_s1 = torch.where(box1.unsqueeze(1), img_u_s1_mix, img_u_s1)
            img_u_s2 = torch.where(box2.unsqueeze(1), img_u_s2_mix, img_u_s2)

            num_lb, num_ulb = len(img_x), len(img_u_w)
            preds, preds_fp = model(torch.cat((img_x, img_u_w)), True)
            pred_x, pred_u_w = preds.split([num_lb, num_ulb])
            pred_u_w_fp = preds_fp[num_lb:]
            pred_u_s1, pred_u_s2 = model(torch.cat((img_u_s1, img_u_s2))).chunk(2)
            conf_u_w, mask_u_w = pred_u_w.detach().softmax(1).max(1)

            loss_x = criterion_l(pred_x, mask_x)
            loss_u_s1 = self_training(
                pred_u_s1,
                torch.where(box1, mask_u_w_mix, mask_u_w),
                torch.where(box1, conf_u_w_mix, conf_u_w),
                torch.where(box1, ignore_mask_mix, ignore_mask),
            )
            loss_u_s2 = self_training(
                pred_u_s2,
                torch.where(box2, mask_u_w_mix, mask_u_w),
                torch.where(box2, conf_u_w_mix, conf_u_w),
                torch.where(box2, ignore_mask_mix, ignore_mask),
            )
            loss_u_w_fp = self_training(pred_u_w_fp, mask_u_w, conf_u_w, ignore_mask)

            loss = (loss_x + loss_u_s1 * 0.25 + loss_u_s2 * 0.25 + loss_u_w_fp * 0.5) / 2.0

            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

            step = epoch * len(trainloader_u) + i
            writer.add_scalars(
                step,
                {
                    "train/loss_all": loss.item(),
                    "train/loss_x": loss_x.item(),
                    "train/loss_s": (loss_u_s1.item() + loss_u_s2.item()) / 2,
                    "train/loss_w_fp": loss_u_w_fp.item(),
                },
            )

        save(args.save_path, model, optimizer, epoch)


if __name__ == "__main__":
    main()
