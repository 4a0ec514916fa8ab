"""Your own loss in your own loop: `python examples/custom_loss.py` trains for seconds."""

import torch
import torch.nn.functional as F
from scenes import CLASSES, PHOTO, draw_many
from students import SmallStudent
from torch import Tensor

from conformal_plugin import ConformalSupervision, TwoStage, calibrate, filter


def focal(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    """A loss of one's own; any will do that gives a value per pixel or a mean."""
    plain = F.cross_entropy(logits, target, ignore_index=ignore_index, reduction="none")
    return (1 - torch.exp(-plain)) ** 2 * plain


def annotate(truth: Tensor) -> Tensor:
    """Scores ``(N, K, H, W)`` of an annotator that sees the truth blurred and through noise."""
    blurred = F.avg_pool2d(F.one_hot(truth, len(CLASSES)).movedim(-1, 1).float(), 9, 1, 4)
    return (5 * blurred + torch.randn(blurred.shape)).softmax(1)


def main() -> None:
    """Calibrate on 12 scenes, filter the labels of 48 others, and train on both."""
    torch.manual_seed(0)
    photos, truth = (torch.from_numpy(array).long() for array in draw_many(PHOTO, 60, seed=1))
    calibration = calibrate(annotate(truth[:12]), truth[:12], alpha=0.1)
    pseudo = filter(annotate(truth[12:]), calibration).long()

    schedule = TwoStage(stage1=4, total=6)
    supervise = ConformalSupervision(focal, schedule=schedule)
    model = SmallStudent(len(CLASSES))
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3)
    for step in range(schedule.total * 10):
        epoch, own, other = step // 10, torch.randint(12, (8,)), torch.randint(48, (8,))
        logits = model(torch.cat([photos[:12][own], photos[12:][other]]) / 255)
        loss_x = focal(logits[:8], truth[:12][own]).mean()
        if schedule.stage(epoch) == 1:
            loss_u = supervise(logits[8:], pseudo[other], epoch=epoch)
        else:  # your own self-training; here, on what the model holds most probable
            loss_u = focal(logits[8:], logits[8:].detach().argmax(1)).mean()
        optimizer.zero_grad()
        schedule.blend(loss_x, loss_u, epoch).backward()
        optimizer.step()
        if step % 10 == 9:
            print(f"epoch {epoch}: labelled loss {loss_x:.3f}, unlabelled loss {loss_u:.3f}")
    print(f"kept in stage I: {100 * supervise.summary()['kept']:.1f} % of the pixels")


if __name__ == "__main__":
    main()
