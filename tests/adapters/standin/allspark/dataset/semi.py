"""The data set of a stand-in for AllSpark: an unlabelled sample is the bare photo."""

import standin_semi
from standin_transform import jitter, normalize


class SemiDataset(standin_semi.SemiDataset):
    def labelled(self, img, mask):
        return normalize(jitter(img)), mask

    def unlabelled(self, img, ignore_mask, line):
        return normalize(img)
