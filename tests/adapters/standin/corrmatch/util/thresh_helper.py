"""A stand-in for CorrMatch's running threshold, which asks for a process group when it is made."""

import torch
import torch.distributed as dist


class ThreshController:
    def __init__(self, nclass, momentum, thresh_init):
        self.nclass, self.momentum = nclass, momentum
        self.thresh_global = torch.tensor(thresh_init)
        self.gpu_num = dist.get_world_size()

    def thresh_update(self, pred, ignore_mask):
        confidence = pred.softmax(1).max(1)[0][ignore_mask != 255]
        if len(confidence):
            new = confidence.max()
            dist.all_reduce(new)
            step = (1 - self.momentum) * new / self.gpu_num
            self.thresh_global = self.momentum * self.thresh_global + step

    def get_thresh_global(self):
        return self.thresh_global
