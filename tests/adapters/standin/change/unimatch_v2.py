"""A stand-in for a change-detection script: a model of two photos, the reversed batch pasted."""

import torch
from dataset.semicd import SemiCDDataset
from standin_run import Network, SummaryWriter, distributed, read_arguments, resume, save, start
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler


class TwoPhotos(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.net = Network(cfg)

    def forward(self, img_a, img_b):
        return self.net(img_a - img_b)


def main():
    args, cfg = read_arguments()
    start()
    writer = SummaryWriter(args.save_path)

    model = distributed(TwoPhotos(cfg))
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg["lr"], momentum=0.9)
    criterion_l = nn.CrossEntropyLoss(ignore_index=255)
    criterion_u = nn.CrossEntropyLoss(ignore_index=255, reduction="none")

    trainset_u = SemiCDDataset(
        cfg["dataset"], cfg["data_root"], "train_u", cfg["crop_size"], args.unlabeled_id_path
    )
    trainset_l = SemiCDDataset(
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
        loader = zip(trainloader_l, trainloader_u)

        for i, (
            (imgA_x, imgB_x, mask_x),
            (imgA_u_w, imgB_u_w, imgA_u_s, imgB_u_s, ignore_mask, box),
        ) in enumerate(loader):
            with torch.no_grad():
                pred_u_w = model(imgA_u_w, imgB_u_w).detach()
                conf_u_w = pred_u_w.softmax(dim=1).max(dim=1)[0]
                mask_u_w = pred_u_w.argmax(dim=1)
            where = box.unsqueeze(1).expand(imgA_u_s.shape) == 1
            imgA_u_s[where] = imgA_u_s.flip(0)[where]
            imgB_u_s[where] = imgB_u_s.flip(0)[where]

            pred_x = model(imgA_x, imgB_x)
            pred_u_s = model(imgA_u_s, imgB_u_s)
            mask_mixed, conf_mixed = mask_u_w.clone(), conf_u_w.clone()
            mask_mixed[box == 1] = mask_u_w.flip(0)[box == 1]
            conf_mixed[box == 1] = conf_u_w.flip(0)[box == 1]
            ignore_mixed = torch.where(box == 1, ignore_mask.flip(0), ignore_mask)

            loss_x = criterion_l(pred_x, mask_x)
            loss_u_s = criterion_u(pred_u_s, mask_mixed)
            loss_u_s = loss_u_s * ((conf_mixed >= cfg["conf_thresh"]) & (ignore_mixed != 255))
            loss_u_s = loss_u_s.sum() / (ignore_mixed != 255).sum().item()
            loss = (loss_x + loss_u_s) / 2.0

            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

            values = {"train/loss_all": loss.item(), "train/loss_s": loss_u_s.item()}
            writer.add_scalars(epoch * len(trainloader_u) + i, values)

        save(args.save_path, model, optimizer, epoch)


if __name__ == "__main__":
    main()
