"""A stand-in for the train_semi.py of U2PL, AugSeg, iMAS and S4MC: batches are fetched by hand.

A teacher labels the weak view, one function pastes photo, label and confidence, and the loss
writes 255 into its target.
"""

from copy import deepcopy

import torch
from dataset.builder import get_loader
from standin_run import Network, SummaryWriter, distributed, follow, read_arguments, save, start
from torch import nn
from torch.nn import functional as F


def cut_mix(image, label, logits):
    """The same box of the next photo in the batch, for all three."""
    image, label, logits = image.clone(), label.clone(), logits.clone()
    size = image.shape[-1]
    y, x = torch.randint(0, size // 2, (2,)).tolist()
    box = (..., slice(y, y + size // 2), slice(x, x + size // 2))
    for one in (image, label, logits):
        one[box] = one.roll(1, 0)[box]
    return image, label, logits


def loss_by_threshold(predict, target, logits, thresh):
    target[~(logits.ge(thresh) & (target != 255))] = 255
    return F.cross_entropy(predict, target, ignore_index=255, reduction="none").mean()


def main():
    args, cfg = read_arguments()
    start()
    tb_logger = SummaryWriter(args.save_path)
    model = distributed(Network(cfg))
    model_teacher = deepcopy(model)
    sup_loss_fn = nn.CrossEntropyLoss(ignore_index=255)
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg["lr"], momentum=0.9)
    loader_l, loader_u = get_loader(args, cfg)

    for epoch in range(cfg["epochs"]):
        train(
            model, model_teacher, optimizer, sup_loss_fn, loader_l, loader_u, epoch, tb_logger, cfg
        )
        save(args.save_path, model, optimizer, epoch)


def train(model, model_teacher, optimizer, sup_loss_fn, loader_l, loader_u, epoch, tb_logger, cfg):
    loader_l.sampler.set_epoch(epoch)
    loader_u.sampler.set_epoch(epoch)
    loader_l_iter, loader_u_iter = iter(loader_l), iter(loader_u)
    for step in range(len(loader_l)):
        _, image_l, label_l = next(loader_l_iter)
        _, image_u_weak, image_u_aug, _ = next(loader_u_iter)
        with torch.no_grad():
            pred_u = F.softmax(model_teacher(image_u_weak), dim=1)
            logits_u_aug, label_u_aug = torch.max(pred_u, dim=1)

        image_u_aug, label_u_aug, logits_u_aug = cut_mix(image_u_aug, label_u_aug, logits_u_aug)
        pred_all = model(torch.cat((image_l, image_u_aug)))
        pred_l, pred_u_strong = pred_all[: len(image_l)], pred_all[len(image_l) :]

        sup_loss = sup_loss_fn(pred_l, label_l)
        unsup_loss = loss_by_threshold(
            pred_u_strong, label_u_aug.detach(), logits_u_aug.detach(), cfg["conf_thresh"]
        )
        loss = sup_loss + unsup_loss

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        follow(model_teacher, model)
        values = {"sup_loss": sup_loss.item(), "uns_loss": unsup_loss.item()}
        tb_logger.add_scalars(epoch * len(loader_l) + step, values)


if __name__ == "__main__":
    main()
