"""Scripts that are patched where they make their labels: found by what they do, or left alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conformal_plugin.adapters.patching import (
    known_recipes,
    manual_steps,
    patch_labels,
    remove,
    unified,
)
from conformal_plugin.adapters.patching._host_scripts import patch_script

STANDIN = Path(__file__).parent / "standin"
DERIVED = (STANDIN / "derived" / "guidedmatch.py").read_text()
HOSTS = ("UniMatch", "CorrMatch", "AllSpark", "FixMatch")


def added(source: str) -> list[str]:
    result = patch_labels(source.encode())
    assert result.after is not None, result.problems
    assert remove(result.after).after == source.encode()
    lines = unified(result.before, result.after, "s.py").splitlines()[2:]
    changed = [line for line in lines if line[0] in "+-"]
    assert all(line[0] == "+" for line in changed)
    return [line[1:].split("  # conformal-plugin")[0].strip() for line in changed]


def reason(source: str) -> str:
    result = patch_labels(source.encode())
    assert result.after is None
    (problem,) = result.problems
    assert not any(host in problem for host in HOSTS)
    return problem


def test_the_lines_that_a_derived_method_gets() -> None:
    assert added(DERIVED) == [
        "from conformal_plugin.adapters.source import SourceLoop",
        "conformal = SourceLoop(cfg)",
        "trainset_u = conformal.align(trainset_u)",
        "loader = conformal.watch(loader, epoch, parts=(1, 2))",
        "conf_mix, mask_mix = conformal.source(conf_mix, mask_mix, img_u_w_mix, part=2)",
        "conf_mix, mask_mix = conformal.source(conf_mix, mask_mix, img_u_w_mix, part=2)",
        "conf_u_w, mask_u_w = conformal.source(conf_u_w, mask_u_w, img_u_w, part=1)",
    ]


def test_labels_that_stay_the_scripts_own_are_told() -> None:
    (note,) = patch_labels(DERIVED.encode()).notes
    line = 1 + DERIVED[: DERIVED.index("mask_other =")].count("\n")
    assert note.startswith(f"line {line}, `mask_other`: these labels stay the script's own")


def test_names_do_not_matter() -> None:
    names = {
        "trainset_u": "pool", "loader": "both", "img_u_w": "weak", "mask_u_w": "guess",
        "conf_u_w": "certainty", "total_loss": "objective", "cfg": "options", "epoch": "era",
        "pred_u_w": "teacher_says",
    }  # fmt: skip
    renamed = DERIVED
    for old, new in names.items():
        renamed = re.sub(rf"\b{old}\b", new, renamed)
    assert added(renamed)[1:4] == [
        "conformal = SourceLoop(options)",
        "pool = conformal.align(pool)",
        "both = conformal.watch(both, era, parts=(1, 2))",
    ]
    assert added(renamed)[-1] == (
        "certainty, guess = conformal.source(certainty, guess, weak, part=1)"
    )


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_applying_twice_and_taking_back(ending) -> None:
    source = DERIVED.replace("\n", ending).encode()
    once = patch_labels(source)
    again = patch_labels(once.after)
    assert again.already
    assert again.after == once.after
    assert remove(once.after).after == source


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "pred_u_w.detach().argmax(dim=1)",
            "pred_u_w.detach().argmax(dim=1).long().clone()",
            "conf_u_w, mask_u_w = conformal.source(conf_u_w, mask_u_w, img_u_w, part=1)",
        ),
        (
            "mask_u_w = pred_u_w.detach().argmax(dim=1)",
            "mask_u_w = torch.max(torch.softmax(pred_u_w, dim=1), dim=1)[1]",
            "conf_u_w, mask_u_w = conformal.source(conf_u_w, mask_u_w, img_u_w, part=1)",
        ),
        (
            "conf_u_w = pred_u_w.detach()",
            (
                "pred_u_w = (1 - alpha) * pred_u_w.detach() + alpha * model(img_u_w) / 2\n"
                "            conf_u_w = pred_u_w.detach()"
            ),
            "conf_u_w, mask_u_w = conformal.source(conf_u_w, mask_u_w, img_u_w, part=1)",
        ),
        (
            "range(epoch + 1, cfg",
            "range(1, cfg",
            "loader = conformal.watch(loader, epoch - 1, parts=(1, 2))",
        ),
        (
            (
                "preds = model(torch.cat((img_x, img_u_w)))\n"
                "            pred_x, pred_u_w = preds.split([num_lb, num_ulb])"
            ),
            (
                "preds = model(torch.cat((img_x, img_u_w)))\n"
                "            pred_x, pred_u_w = preds[:num_lb], preds[num_lb:]"
            ),
            "conf_u_w, mask_u_w = conformal.source(conf_u_w, mask_u_w, img_u_w, part=1)",
        ),
        (
            "in enumerate(loader)",
            "in enumerate(tqdm(loader))",
            "loader = conformal.watch(loader, epoch, parts=(1, 2))",
        ),
    ],
)
def test_ways_to_write_the_same(old, new, expected) -> None:
    assert old in DERIVED
    assert expected in added(DERIVED.replace(old, new))


def test_a_model_under_another_name_and_one_output_of_two() -> None:
    source = DERIVED.replace(
        "    criterion_l = nn", "    bare = model.module\n    criterion_l = nn"
    ).replace(
        "model(img_u_w_mix).detach()",
        "bare(img_u_w_mix)['a'] if epoch < 5 else bare(img_u_w_mix)['b']",
    )
    assert added(source) == added(DERIVED)


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ({"loss.backward()": "pass", "total_loss.pass": "pass"}, "no loop in it calls .backward()"),
        ({"in enumerate(loader)": "in enumerate(zip(trainloader_l, trainloader_u))"},
         "makes the zip(...) of loaders within another call: give it a name"),
        ({'cfg["epochs"]': "args.epochs"}, "no variable holds a config with ['epochs']"),
        ({"        for i, (": "        loader = loader\n        for i, ("},
         "`loader`, which the loop on line"),
        ({'"train_u"': '"semi"'}, "is a loader whose data set is made with the mode 'train_u'"),
        ({"    trainset_l = Semi": "    trainset_u = trainset_u\n    trainset_l = Semi"},
         "`trainset_u` is not assigned exactly once in main(), but on lines"),
        ({"conf_u_w = pred_u_w.detach().softmax(dim=1).max(dim=1)[0]": "conf_u_w = ones",
          "conf_mix, mask_mix = pred_u_w_mix.softmax(dim=1).max(dim=1)":
          "mask_mix = pred_u_w_mix.argmax(dim=1)"},
         "`mask_mix` (line 61): no confidence is made of the same prediction beside it"),
        ({"paste_(img_u_s1, img_u_s1_mix, box1)": "paste_(img_u_w, img_u_w_mix, box1)"},
         "the photos were pasted into each other before the model labelled them"),
        ({"mask_u_w = pred_u_w.detach().argmax(dim=1)":
          "mask_u_w = (pred_u_w * box1 + pred_u_w_mix * (1 - box1)).argmax(dim=1)",
          "conf_mix, mask_mix = pred_u_w_mix.softmax(dim=1).max(dim=1)": "conf_mix = mask_mix = 1"},
         "`mask_u_w` (line 72): whose prediction it is of cannot be followed"),
        ({"mask_u_w = pred_u_w.detach().argmax(dim=1)": "mask_u_w = helper(pred_u_w)",
          "conf_mix, mask_mix = pred_u_w_mix.softmax(dim=1).max(dim=1)": "conf_mix = 1",
          "mask_other = pred_u_s2.detach().argmax(dim=1)": "mask_other = helper(pred_u_s2)"},
         "makes no label by argmax(dim=1) or max(dim=1) that its loss reads"),
        ({"for epoch in range(epoch + 1, cfg[\"epochs\"]):": "if cfg[\"epochs\"]:"},
         "stands in no loop over epochs"),
    ],
)  # fmt: skip
def test_what_is_not_certain_is_left_alone_and_said(edits, expected) -> None:
    source = DERIVED
    for old, new in edits.items():
        source = source.replace(old, new)
    assert expected in reason(source)


def test_consistency_without_labels_is_called_that() -> None:
    source = DERIVED
    for line in DERIVED.splitlines():
        if ".max(dim=1)" in line or ".argmax(dim=1)" in line:
            name = "mask_mix" if "mask_mix" in line else line.split("=")[0].strip()
            indent = line[: len(line) - len(line.lstrip())]
            source = source.replace(line, f"{indent}{name} = pred_u_w_mix.softmax(dim=1)")
    source = source.replace("criterion_l(pred_u_s1, mask_other)",
                            "softmax_mse_loss(pred_u_s1, mask_other)")  # fmt: skip
    assert "soft targets have no place for a conformal label" in reason(source)
    steps = manual_steps(patch_labels(source.encode()), "ours.py")
    assert "SourceLoop" not in steps  # its calls would have no label to give


def test_a_product_with_log_softmax_is_no_hard_label() -> None:
    """The labels beside it, carried along in one statement with others, reach no loss."""
    soft = {
        "loss_s1": "-conf1 * F.log_softmax(pred_u_s1, 1)",
        "loss_s2": "loss_s1",
        "loss_each_other": "0",
        "mask1, conf1": "mask_u_w.clone(), soft.clone()",
    }
    source = DERIVED
    for names, value in soft.items():
        source = re.sub(rf"( {names} = ).*", rf"\g<1>{value}", source)
    line = 1 + source[: source.index("log_softmax")].count("\n")
    assert f"(a product with log_softmax on line {line})" in reason(source)


def test_the_steps_are_for_this_script() -> None:
    source = DERIVED.replace('"train_u"', '"semi"')
    steps = manual_steps(patch_labels(source.encode()), "ours.py")
    assert steps.startswith("ours.py was not changed:\n  - none of what line ")
    assert "docs/any-loop.md" in steps
    soft = DERIVED.replace("paste_(img_u_s1, img_u_s1_mix", "paste_(img_u_w, img_u_w_mix")
    soft = soft.replace("conf_mix, mask_mix = pred_u_w_mix", "conf_mix, mask_mix = other")
    steps = manual_steps(patch_labels(soft.encode()), "ours.py")
    assert "what is certain of this script:" in steps
    assert "conformal = SourceLoop(cfg)  # conformal-plugin" in steps
    assert not any(host in steps for host in HOSTS)


# Which of the two ways a script takes.


@pytest.mark.parametrize(
    ("script", "host"),
    [
        ("unimatch/unimatch.py", "UniMatch"),
        ("corrmatch/corrmatch.py", "CorrMatch"),
        ("allspark/train_allspark.py", "AllSpark"),
        ("derived/guidedmatch.py", "labels at their source"),
        ("medical/unimatch.py", "labels at their source"),
        ("change/unimatch_v2.py", "labels at their source"),
    ],
)
def test_a_known_host_keeps_its_recipe(script, host) -> None:
    result = patch_script(STANDIN / script, known_recipes())
    assert result.after is not None, result.problems
    assert result.recipe.host == host


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("loss = (loss_x + loss_u_s) / 2.0", "loss = scaler.scale(total)",
         "`loss` on line 63 is not made of `loss_u_s`"),
        ("loss = (loss_x + loss_u_s) / 2.0", "loss = loss_x + loss_u_s + loss_more",
         "`loss` on line 63 is made of `loss_more` too"),
    ],
)  # fmt: skip
def test_a_recipe_is_for_the_statement_that_adds_its_losses_up(
    tmp_path, old, new, expected
) -> None:
    source = (STANDIN / "unimatch" / "fixmatch.py").read_text()
    assert old in source
    path = tmp_path / "fixmatch.py"
    path.write_text(source.replace(old, new))
    result = patch_script(path, known_recipes())
    assert result.after is None
    assert any(expected in problem for problem in result.problems), result.problems


def test_another_sample_is_not_the_recipes(tmp_path) -> None:
    source = (STANDIN / "unimatch" / "fixmatch.py").read_text()
    path = tmp_path / "fixmatch.py"
    path.write_text(source.replace("cutmix_box, _),", "cutmix_box, _, _),"))
    result = patch_script(path, known_recipes())
    assert result.after is None
    assert not any("UniMatch" in problem for problem in result.problems)
