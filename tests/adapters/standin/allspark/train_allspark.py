"""A stand-in for AllSpark's train_allspark.py: its names and contract, lines of our own."""

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


class MemoryNetwork(Network):
    """Takes up the model's own labels before each step and lets them into the next forward pass."""

    def __init__(self, cfg):
        super().__init__(cfg)
        self.memory = torch.zeros(cfg["nclass"])

    def set_pseudo_label(self, pseudo_label):
        counts = torch.bincount(pseudo_label.flatten(), minlength=len(self.memory))
        self.memory = counts / counts.sum()

    def forward(self, x):
        return super().forward(x) + self.memory.view(1, -1, 1, 1)


def main():
    args, cfg = read_arguments()
    start()
    writer = SummaryWriter(args.save_path)

    model = distributed(MemoryNetwork(cfg))
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg["lr"], momentum=0.9)
    criterion_l = nn.CrossEntropyLoss(ignore_index=255)
    criterion_u = nn.CrossEntropyLoss(**cfg["criterion_u"]["kwargs"])

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
                model.module.set_pseudo_label(pseudo_label)

            preds = model(torch.cat((img_x, img_u_s)))
            pred_x, pred_u = preds.split([len(img_x), len(img_u_s)])

            loss_x = criterion_l(pred_x, mask_x)
            loss_u = criterion_u(pred_u, pseudo_label)

            loss = (loss_x + loss_u) / 2.0

            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

            step = epoch * len(trainloader_u) + i
            writer.add_scalars(
                step,
                {
                    "train/loss_all": loss.item(),
                    "train/loss_x": loss_x.item(),
                    "train/loss_u": loss_u.item(),
                },
            )

        save(args.save_path, model, optimizer, epoch)


if __name__ == "__main__":
    main()
