"""A stand-in for a medical script: a Dice loss that leaves out unsure pixels, and no padding."""

import torch
from dataset.slices import SliceDataset
from standin_run import Network, SummaryWriter, distributed, read_arguments, resume, save, start
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler


def dice(scores, labels, ignored):
    """A smooth Dice loss of each class that there is, on the pixels that are not ignored."""
    used, total = 1 - ignored, 0.0
    for number in labels.unique():
        score, truth = scores[:, int(number)], (labels == number).float()
        both = (score * truth * used).sum()
        each = (score * score * used).sum() + (truth * truth * used).sum()
        total = total + 1 - (2 * both + 1e-5) / (each + 1e-5)
    return total / len(labels.unique())


def main():
    args, cfg = read_arguments()
    start()
    writer = SummaryWriter(args.save_path)

    model = distributed(Network(cfg))
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg["lr"], momentum=0.9)
    criterion_ce = nn.CrossEntropyLoss()

    trainset_u = SliceDataset(
        cfg["dataset"], cfg["data_root"], "train_u", cfg["crop_size"], args.unlabeled_id_path
    )
    trainset_l = SliceDataset(
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
    sampler_mix = DistributedSampler(trainset_u)
    trainloader_u_mix = DataLoader(trainset_u, sampler=sampler_mix, **batches)

    epoch = resume(args.save_path, model, optimizer)
    for epoch in range(epoch + 1, cfg["epochs"]):  # noqa: B020
        trainloader_u.sampler.set_epoch(epoch)
        trainloader_u_mix.sampler.set_epoch(epoch + cfg["epochs"])

        loader = zip(trainloader_l, trainloader_u, trainloader_u_mix)

        for i, (
            (img_x, mask_x),
            (img_u_w, img_u_s, box),
            (img_u_w_mix, img_u_s_mix, _),
        ) in enumerate(loader):
            with torch.no_grad():
                pred_u_w_mix = model(img_u_w_mix).detach()
                conf_mix = pred_u_w_mix.softmax(dim=1).max(dim=1)[0]
                mask_mix = pred_u_w_mix.argmax(dim=1)
            img_u_s = torch.where(box.unsqueeze(1) == 1, img_u_s_mix, img_u_s)

            preds = model(torch.cat((img_x, img_u_w)))
            pred_x, pred_u_w = preds.split([len(img_x), len(img_u_w)])
            pred_u_s = model(img_u_s)
            pred_u_w = pred_u_w.detach()
            conf = pred_u_w.softmax(dim=1).max(dim=1)[0]
            mask = pred_u_w.argmax(dim=1)

            mask_cutmixed, conf_cutmixed = mask.clone(), conf.clone()
            mask_cutmixed[box == 1] = mask_mix[box == 1]
            conf_cutmixed[box == 1] = conf_mix[box == 1]

            loss_x = criterion_ce(pred_x, mask_x)
            unsure = (conf_cutmixed < cfg["conf_thresh"]).float()
            loss_s = dice(pred_u_s.softmax(dim=1), mask_cutmixed.float(), unsure)
            loss = (loss_x + loss_s) / 2.0

            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

            values = {"train/loss_all": loss.item(), "train/loss_s": loss_s.item()}
            writer.add_scalars(epoch * len(trainloader_u) + i, values)

        save(args.save_path, model, optimizer, epoch)


if __name__ == "__main__":
    main()
