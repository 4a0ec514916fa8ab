"""The losses that conformal labels do not reach, found in scripts of many kinds."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from conformal_plugin.adapters.loop._losses_going_on import losses_going_on

STANDIN = Path(__file__).parent / "standin"

LOOP = """
def main():
    conformal = Loop(cfg, criterion_u)
    for epoch in range(epochs):
        loader = zip(trainloader_l, trainloader_u)
        loader = conformal.watch(loader, epoch)
        for i, ((img_x, mask_x), (img_u_w, img_u_s, box)) in enumerate(loader):
            img_x, mask_x, img_u_w = img_x.cuda(), mask_x.cuda(), img_u_w.cuda()
            pred_x, pred_u_w, pred_u_s = model(torch.cat((img_x, img_u_w, img_u_s))).split(4)
            conf, mask = pred_u_w.softmax(1).max(1)
            loss_x = criterion_l(pred_x, mask_x)
            loss_u = criterion_u(pred_u_s, mask)
            loss_u = loss_u.sum() / (box != 255).sum().item()
"""


def found(*lines: str) -> list[str] | None:
    """What is found in the loop with more lines of its own, by name."""
    source = LOOP + textwrap.indent("\n".join(lines), " " * 12) + "\n"
    losses = losses_going_on(source, 6, "conformal")
    return losses if losses is None else [one.name for one in losses]


def named(source: str, line: int) -> list[str]:
    losses = losses_going_on(source, line, "conformal")
    assert losses is not None
    return list(map(str, losses))


REPLACED = "loss_u = conformal(loss_u, pred_u_s)"


def test_what_is_replaced_and_what_is_supervised_is_not_named() -> None:
    assert found(REPLACED, "loss = (loss_x + loss_u) / 2", "loss.backward()") == []


def test_a_further_loss_on_unlabelled_photos_is_named_with_its_line() -> None:
    source = LOOP + textwrap.indent(
        f"loss_kl = divergence(pred_u_w, pred_u_s)\n{REPLACED}\n"
        "loss = loss_x + loss_u + 0.1 * loss_kl\nloss.backward()\n",
        " " * 12,
    )
    assert named(source, 6) == ["loss_kl (line 14)"]


@pytest.mark.parametrize(
    "lines",
    [
        ("loss = loss_x + loss_u", "loss = loss + entropy(pred_u_s)", "loss.backward()"),
        ("loss = loss_x + loss_u", "loss += entropy(pred_u_s)", "loss.backward()"),
        ("loss: Tensor = loss_x + loss_u + entropy(pred_u_s)", "scaler.scale(loss).backward()"),
        ("total = loss_x + loss_u - entropy(pred_u_s)", "loss = scaler.scale(total)",
         "loss.backward()"),
        ("loss = -(-loss_x - loss_u - entropy(pred_u_s)).mean()", "loss.backward()"),
    ],
)  # fmt: skip
def test_however_it_is_added_up(lines: tuple[str, ...]) -> None:
    (name,) = found(REPLACED, *lines) or [""]
    assert name in ("loss", "total")


def test_what_is_added_after_the_replacing_is_seen() -> None:
    lines = ("loss_u = loss_u + extra(pred_u_s, mask)", "loss = loss_x + loss_u", "loss.backward()")
    assert found(REPLACED, *lines) == ["loss_u"]


def test_labels_replaced_at_their_source_reach_what_reads_them() -> None:
    inserted = "            conf, mask = conformal.source(conf, mask)\n"
    source = LOOP.replace("            loss_x =", f"{inserted}            loss_x =")
    source += textwrap.indent(
        "loss_ft = contrast(pred_u_w, pred_u_s)\nloss = loss_x + loss_u + loss_ft\n"
        "loss.backward()\n",
        " " * 12,
    )
    assert named(source, 6) == ["loss_ft (line 15)"]


def test_masks_in_another_form_are_still_the_labelled_photos() -> None:
    lines = ("target = one_hot(mask_x)", "loss_dice = dice(pred_x, target)")
    total = ("loss = loss_x + loss_u + loss_dice", "loss.backward()")
    assert found(REPLACED, *lines, *total) == []


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("def main(:", 1),
        ("for a in b:\n    a.backward()\n", 1),
        (LOOP, 6),  # no backward
        (LOOP.replace("((img_x, mask_x), (img_u_w, img_u_s, box))", "batch"), 6),
        (LOOP.replace("(img_x, mask_x), (img_u_w, img_u_s, box)", "a, b"), 6),
        ("", 1),
    ],
)
def test_what_cannot_be_read_is_not_guessed_at(source: str, line: int) -> None:
    assert losses_going_on(source, line, "conformal") is None


def test_a_loss_that_is_repaired_stays_what_it_was() -> None:
    lines = ("loss_x = torch.nan_to_num(loss_x)", "loss = loss_x + loss_u", "loss.backward()")
    assert found(REPLACED, *lines) == []


def test_the_lines_of_all_that_computes_a_loss() -> None:
    lines = ("loss_kl = divergence(", "    pred_u_w, pred_u_s)", "loss_kl += again(pred_u_s)")
    source = LOOP + textwrap.indent(
        "\n".join((*lines, REPLACED, "(loss_x + loss_u + loss_kl).backward()")) + "\n", " " * 12
    )
    (loss,) = losses_going_on(source, 6, "conformal") or []
    assert (loss.name, loss.lines) == ("loss_kl", (14, 15, 16))


def test_a_loop_in_the_script_itself() -> None:
    source = textwrap.dedent(
        """
        conformal = Loop(cfg, criterion)
        for i, ((x, y), u) in enumerate(conformal.watch(loader, 0)):
            loss = criterion(model(x), y) + consistency(model(u))
            loss.backward()
        """
    )
    assert named(source, 3) == ["loss (line 4)"]


def test_the_upstream_hosts_are_replaced_whole(copied_host) -> None:
    hosts = ("allspark", "corrmatch", "unimatch", "unimatch_v2")
    for path in sorted(path for host in hosts for path in STANDIN.glob(f"{host}/*.py")):
        script = copied_host(f"{path.parent.name}/{path.name}", patched=True)
        source = script.read_text(encoding="utf-8")
        (line,) = [n for n, text in enumerate(source.splitlines(), 1) if ".watch(" in text]
        assert losses_going_on(source, line, "conformal") == [], path


def test_a_run_names_them_once_and_in_mode_replace_alone(copied_host, run_host, data) -> None:
    script = copied_host("unimatch/unimatch.py", patched=True)
    text = script.read_text(encoding="utf-8")
    added = "loss = loss + 0.1 * pred_u_s1.softmax(1).square().mean()\n"
    text = text.replace("optimizer.zero_grad()", f"{added}            optimizer.zero_grad()", 1)
    script.write_text(text, encoding="utf-8")
    for i in range(6):
        data.drop_labels(f"p{i}", slice(0, 12))

    def named(**options: object) -> list[str]:
        conformal = {"pseudo_labels": str(data.pseudo), "stage1_epochs": 2, **options}
        run = run_host(script, save="-".join(map(str, options.values())) or "out", epochs=3,
                       conformal=conformal)  # fmt: skip
        return [line for line in run.log if "goes on beside the labels" in line]

    (line,) = named()
    number = text.splitlines().index(" " * 12 + added.strip()) + 1
    assert line.endswith(f"beside the labels: loss (line {number})")
    assert named(mode="add") == []
    assert named(mode="replace", weight=1) != []
