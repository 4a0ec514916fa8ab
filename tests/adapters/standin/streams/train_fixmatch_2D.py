"""A stand-in for SSL4MIS' scripts on slices: one loader, whose batches hold both kinds."""

import torch
from dataset.two_streams import BaseDataSets, TwoStreamBatchSampler
from standin_run import Network, SummaryWriter, distributed, read_arguments, save, start
from torch.nn import CrossEntropyLoss
from torch.utils.data import DataLoader


def main():
    args, cfg = read_arguments()
    start()
    writer = SummaryWriter(args.save_path)
    args.labeled_bs = cfg["batch_size"]
    model = distributed(Network(cfg))
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg["lr"], momentum=0.9)

    lists = args.labeled_id_path, args.unlabeled_id_path
    db_train = BaseDataSets(cfg["data_root"], cfg["crop_size"], *lists)
    labeled_slice = len(BaseDataSets(cfg["data_root"], cfg["crop_size"], lists[0]))
    labeled_idxs = list(range(labeled_slice))
    unlabeled_idxs = list(range(labeled_slice, len(db_train)))
    batch_sampler = TwoStreamBatchSampler(labeled_idxs, unlabeled_idxs, args.labeled_bs)
    trainloader = DataLoader(db_train, batch_sampler=batch_sampler)

    ce_loss = CrossEntropyLoss()
    iter_num = 0
    for epoch_num in range(cfg["epochs"]):
        for sampled_batch in trainloader:
            weak_batch, strong_batch = sampled_batch["image_weak"], sampled_batch["image_strong"]
            label_batch = sampled_batch["label_aug"]

            outputs_weak, outputs_strong = model(torch.cat((weak_batch, strong_batch))).chunk(2)
            outputs_weak_soft = torch.softmax(outputs_weak, dim=1)
            pseudo_mask = (outputs_weak_soft > cfg["conf_thresh"]).float()
            outputs_weak_masked = outputs_weak_soft * pseudo_mask
            pseudo_outputs = torch.argmax(
                outputs_weak_masked[args.labeled_bs :].detach(), dim=1, keepdim=False
            )

            sup_loss = ce_loss(outputs_weak[: args.labeled_bs], label_batch[: args.labeled_bs])
            unsup_loss = ce_loss(outputs_strong[args.labeled_bs :], pseudo_outputs)
            loss = sup_loss + 0.5 * unsup_loss

            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            iter_num += 1
            values = {"model/sup_loss": sup_loss.item(), "model/unsup_loss": unsup_loss.item()}
            writer.add_scalars(iter_num, values)
        save(args.save_path, model, optimizer, epoch_num)


if __name__ == "__main__":
    main()
