"""Where the stand-in for U2PL and AugSeg makes its loaders: not in the script."""

import numpy as np
import standin_semi
import torch
from standin_run import make_loaders
from standin_transform import crop, hflip, jitter, normalize, resize


class Photos(standin_semi.SemiDataset):
    """Its number, one view or two, and the mask: the unlabelled photos' is read, too."""

    def __getitem__(self, item):
        img, mask = self.read(*self.ids[item].split(" "))
        img, mask = resize(img, mask, (0.5, 2.0))
        img, mask = crop(img, mask, self.size, 255)
        img, mask = hflip(img, mask)
        label = torch.from_numpy(np.array(mask)).long()
        if self.mode == "train_l":
            return item, normalize(img), label
        return item, normalize(img), normalize(jitter(img)), label


def get_loader(args, cfg):
    trainset_u = Photos(
        cfg["dataset"], cfg["data_root"], "train_u", cfg["crop_size"], args.unlabeled_id_path
    )
    return make_loaders(Photos, trainset_u, args, cfg)
