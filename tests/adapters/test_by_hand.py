"""Hosts that are taken through docs/any-loop.md by hand: their kind is told, and the lines work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from conformal_plugin import ConformalSupervision
from conformal_plugin.adapters.patching import known_recipes
from conformal_plugin.adapters.patching._host_scripts import patch_script
from conformal_plugin.adapters.patching._other_loops import SECTIONS

TEACHER, STREAMS = "teacher/train_semi.py", "streams/train_fixmatch_2D.py"
# What a user changes, as diffs whose hunks are parted by empty lines.
BY_HAND = {
    TEACHER: """\
 import torch
+from conformal_plugin import ConformalSupervision, TwoStage

     loader_l, loader_u = get_loader(args, cfg)
+    schedule = TwoStage(stage1=cfg["stage1"], total=cfg["epochs"])
+    supervise = ConformalSupervision(
+        nn.CrossEntropyLoss(ignore_index=255), schedule=schedule
+    )

     for epoch in range(cfg["epochs"]):
+        supervise.begin_epoch(epoch)

-            model, model_teacher, optimizer, sup_loss_fn, loader_l, loader_u, epoch, tb_logger, cfg
+            model, model_teacher, optimizer, sup_loss_fn, loader_l, loader_u, epoch, tb_logger,
+            cfg, supervise,

-def train(model, model_teacher, optimizer, sup_loss_fn, loader_l, loader_u, epoch, tb_logger, cfg):
+def train(
+    model, model_teacher, optimizer, sup_loss_fn, loader_l, loader_u, epoch, tb_logger,
+    cfg, supervise,
+):

-        _, image_u_weak, image_u_aug, _ = next(loader_u_iter)
+        _, image_u_weak, image_u_aug, pseudo = next(loader_u_iter)

             logits_u_aug, label_u_aug = torch.max(pred_u, dim=1)
+        if supervise.stage == 1:
+            label_u_aug = pseudo  # pasted as the photo is

         sup_loss = sup_loss_fn(pred_l, label_l)
+        term = supervise(pred_u_strong, label_u_aug)

-        loss = sup_loss + unsup_loss
+        unsup_loss = term if supervise.stage == 1 else unsup_loss
+        loss = sup_loss + unsup_loss
""",
    STREAMS: """\
 import torch
+from conformal_plugin import ConformalSupervision, TwoStage

     ce_loss = CrossEntropyLoss()
+    schedule = TwoStage(stage1=cfg["stage1"], total=cfg["epochs"])
+    supervise = ConformalSupervision(CrossEntropyLoss(ignore_index=255), schedule=schedule)

             unsup_loss = ce_loss(outputs_strong[args.labeled_bs :], pseudo_outputs)
+            if schedule.stage(epoch_num) == 1:
+                pseudo = label_batch[args.labeled_bs :]
+                pred = outputs_strong[args.labeled_bs :]
+                unsup_loss = supervise(pred, pseudo, epoch=epoch_num)
""",
}
HOSTS = pytest.mark.parametrize("script", BY_HAND)


@pytest.fixture
def by_hand(copied_host) -> Callable[[str], Path]:
    """A stand-in with the lines of the page in it."""

    def edited(script: str) -> Path:
        path = copied_host(script, patched=False)
        source = path.read_text()
        for hunk in BY_HAND[script].split("\n\n"):
            lines = hunk.splitlines()
            old, new = (
                "".join(f"{line[1:]}\n" for line in lines if line[0] in kept)
                for kept in (" -", " +")
            )
            assert source.count(old) == 1, old
            source = source.replace(old, new)
        path.write_text(source)
        return path

    return edited


@pytest.fixture
def unlabelled(data) -> Path:
    """Photos whose mask is their pseudo-label, as `filter --id-list` writes the list."""
    for number in range(len(data.lines)):
        data.drop_labels(f"p{number}", slice(0, None, 3))
    path = data.root / "with_pseudo.txt"
    path.write_text("".join(line.replace("masks/", "pseudo/") + "\n" for line in data.lines))
    return path


@pytest.fixture
def gradients(monkeypatch) -> Counter[str]:
    """At how many pixels with a label, and without one, a gradient came back in stage I."""
    seen: Counter[str] = Counter()
    forward = ConformalSupervision.forward

    def watched(self, logits, pseudo, **options):
        kept = pseudo != 255

        def count(gradient: torch.Tensor) -> None:
            learnt = gradient.ne(0).any(1)
            seen.update(kept=int((learnt & kept).sum()), dropped=int((learnt & ~kept).sum()))

        logits.register_hook(count)
        seen.update(labels=int(kept.sum()), without=int((~kept).sum()))
        return forward(self, logits, pseudo, **options)

    monkeypatch.setattr(ConformalSupervision, "forward", watched)
    return seen


@pytest.mark.parametrize(
    ("script", "kind", "section"),
    [
        (TEACHER, "fetches batches itself", "teacher"),
        (STREAMS, "gets both kinds of photos in one batch", "streams"),
    ],
)
def test_its_kind_is_told_with_the_section_that_is_like_it(copied_host, script, kind, section):
    result = patch_script(copied_host(script, patched=False), known_recipes())
    assert result.after is None
    (problem,) = result.problems
    assert kind in problem
    assert f'"{SECTIONS[section]}"' in problem
    assert not any(host in problem for host in ("UniMatch", "CorrMatch", "AllSpark"))


@HOSTS
def test_stage_one_learns_from_every_label_and_from_nothing_else(
    by_hand, run_host, unlabelled, gradients, script
) -> None:
    run_host(by_hand(script), unlabelled=unlabelled, epochs=1, stage1=1)
    assert gradients["kept"] == gradients["labels"] > 1000
    assert gradients["without"] > 1000
    assert gradients["dropped"] == 0


@HOSTS
def test_stage_two_is_the_scripts_own(copied_host, by_hand, run_host, unlabelled, script) -> None:
    plain = run_host(copied_host(script, patched=False), save="plain", unlabelled=unlabelled)
    edited = by_hand(script)
    own = run_host(edited, save="own", unlabelled=unlabelled, stage1=0)
    assert own.scalars == plain.scalars
    both = run_host(edited, save="both", unlabelled=unlabelled, stage1=1)
    half = len(plain.scalars) // 2
    assert both.scalars[:half] != plain.scalars[:half]
    assert len(both.scalars) == len(plain.scalars)
