"""A stand-in for corrmatch.py: its names and contract, lines of our own."""

import os

import torch
from dataset.semi import SemiDataset
from standin_run import (
    Network,
    SummaryWriter,
    distributed,
    make_loaders,
    read_arguments,
    start,
)
from torch import nn
from torch.nn import functional as F
from util.thresh_helper import ThreshController

os.environ["CUDA_VISIBLE_DEVICES"] = "0,1"


class CorrNetwork(Network):
    def __init__(self, cfg):
        super().__init__(cfg)
        self.corr = nn.Conv2d(8, cfg["nclass"], 1)

    def forward(self, x, need_fp, use_corr):
        features = self.backbone(x).relu()
        result = {"out": self.head(features)}
        if need_fp:
            result["out_fp"] = self.head(F.dropout2d(features, 0.5))
        if use_corr:
            result["corr_out"] = self.corr(features)
        return result


def main():
    args, cfg = read_arguments()
    start()
    writer = SummaryWriter(args.save_path)

    model = distributed(CorrNetwork(cfg))
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg["lr"], momentum=0.9)
    criterion_l = nn.CrossEntropyLoss(ignore_index=255)
    criterion_u = nn.CrossEntropyLoss(reduction="none")
    criterion_kl = nn.KLDivLoss(reduction="none")

    trainset_u = SemiDataset(
        cfg["dataset"], cfg["data_root"], "train_u", cfg["crop_size"], args.unlabeled_id_path
    )
    trainloader_l, trainloader_u = make_loaders(SemiDataset, trainset_u, args, cfg)
    thresh_controller = ThreshController(nclass=21, momentum=0.999, thresh_init=cfg["thresh_init"])

    for epoch in range(cfg["epochs"]):
        trainloader_l.sampler.set_epoch(epoch)
        trainloader_u.sampler.set_epoch(epoch)

        loader = zip(trainloader_l, trainloader_u, trainloader_u)

        for i, (
            (img_x, mask_x),
            (img_u_w, img_u_s1, _, ignore_mask, cutmix_box1, _),
            (img_u_w_mix, img_u_s1_mix, _, ignore_mask_mix, _, _),
        ) in enumerate(loader):
            box = cutmix_box1 == 1
            with torch.no_grad():
                res_u_w_mix = model(img_u_w_mix, need_fp=False, use_corr=False)
                conf_u_w_mix, mask_u_w_mix = res_u_w_mix["out"].softmax(1).max(1)
            img_u_s1 = torch.where(box.unsqueeze(1), img_u_s1_mix, img_u_s1)

            num_lb, num_ulb = len(img_x), len(img_u_w)
            res_w = model(torch.cat((img_x, img_u_w)), need_fp=True, use_corr=True)
            pred_x_corr, pred_u_w_corr = res_w["corr_out"].split([num_lb, num_ulb])
            pred_x, pred_u_w = res_w["out"].split([num_lb, num_ulb])
            pred_u_w_fp = res_w["out_fp"][num_lb:]
            res_s = model(img_u_s1, need_fp=False, use_corr=True)
            pred_u_s1, pred_u_s1_corr = res_s["out"], res_s["corr_out"]

            pred_u_w = pred_u_w.detach()
            conf_u_w, mask_u_w = pred_u_w.softmax(1).max(1)
            mask_mixed = torch.where(box, mask_u_w_mix, mask_u_w)
            conf_mixed = torch.where(box, conf_u_w_mix, conf_u_w)
            ignore_mixed = torch.where(box, ignore_mask_mix, ignore_mask)

            thresh_controller.thresh_update(pred_u_w, ignore_mixed)
            thresh_global = thresh_controller.get_thresh_global()
            sure_mixed = (conf_mixed >= thresh_global) & (ignore_mixed != 255)
            sure = (conf_u_w >= thresh_global) & (ignore_mask != 255)
            count_mixed = torch.sum(ignore_mixed != 255).item()
            count = torch.sum(ignore_mask != 255).item()

            loss_x = criterion_l(pred_x, mask_x)
            loss_x_corr = criterion_l(pred_x_corr, mask_x)
            loss_u_s1 = (criterion_u(pred_u_s1, mask_mixed) * sure_mixed).sum() / count_mixed
            loss_u_corr_s = (criterion_u(pred_u_s1_corr, mask_mixed) * sure_mixed).sum()
            loss_u_corr_w = (criterion_u(pred_u_w_corr, mask_u_w) * sure).sum()
            loss_u_corr = 0.5 * (loss_u_corr_s / count_mixed + loss_u_corr_w / count)
            divergence = criterion_kl(pred_u_s1.log_softmax(1), pred_u_w.softmax(1)).sum(1)
            loss_u_kl = (divergence * sure_mixed).sum() / count_mixed
            loss_u_w_fp = (criterion_u(pred_u_w_fp, mask_u_w) * sure).sum() / count

            loss = (
                0.5 * loss_x
                + 0.5 * loss_x_corr
                + loss_u_s1 * 0.25
                + loss_u_kl * 0.25
                + loss_u_w_fp * 0.25
                + 0.25 * loss_u_corr
            ) / 2.0

            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

            step = epoch * len(trainloader_u) + i
            writer.add_scalars(
                step,
                {
                    "loss_all": loss.item(),
                    "loss_x": loss_x.item(),
                    "loss_s": loss_u_s1.item(),
                    "loss_kl": loss_u_kl.item(),
                    "loss_w_fp": loss_u_w_fp.item(),
                    "loss_corr_u": loss_u_corr.item(),
                },
            )


if __name__ == "__main__":
    main()
