"""The data set of a stand-in for a derived method: one view more in each sample."""

import standin_semi
from standin_transform import jitter, normalize

__all__ = ["SemiDataset"]


class SemiDataset(standin_semi.SemiDataset):
    def unlabelled(self, img, ignore_mask, line):
        return (*super().unlabelled(img, ignore_mask, line), normalize(jitter(img)))
