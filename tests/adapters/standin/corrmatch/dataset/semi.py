"""The data set of a stand-in for CorrMatch: one strong view, the photo itself and its id line."""

import numpy as np
import standin_semi
from standin_transform import jitter, normalize, obtain_cutmix_box


class SemiDataset(standin_semi.SemiDataset):
    def unlabelled(self, img, ignore_mask, line):
        box = obtain_cutmix_box(self.size)
        return normalize(img), normalize(jitter(img)), np.array(img), ignore_mask, box, line
