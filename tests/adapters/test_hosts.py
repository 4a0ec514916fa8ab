"""Every host's script, patched and run: stage I on conformal labels, stage II the host's own."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import pytest
from PIL import Image

from conformal_plugin.adapters.patching import known_recipes

STANDIN = Path(__file__).parent / "standin"
UNLABELLED = {  # the script's name of its (first) unlabelled loss
    "allspark/train_allspark.py": "train/loss_u",
    "allspark/train_baseline_semi.py": "train/loss_w_fp",
    "change/unimatch_v2.py": "train/loss_s",
    "corrmatch/corrmatch.py": "loss_s",
    "derived/guidedmatch.py": "train/loss_s",
    "medical/unimatch.py": "train/loss_s",
    "unimatch/fixmatch.py": "train/loss_s",
    "unimatch/unimatch.py": "train/loss_s",
    "unimatch_v2/fixmatch.py": "train/loss_s",
    "unimatch_v2/unimatch_v2.py": "train/loss_s",
}


def conformal(data, **options):
    return {"conformal": {"pseudo_labels": str(data.pseudo), **options}}


@pytest.mark.parametrize("script", UNLABELLED)
class TestEveryHost:
    def test_a_patched_script_trains_in_two_stages(self, script, copied_host, run_host, data):
        for i in range(6):
            data.drop_labels(f"p{i}", slice(0, 12))
        run = run_host(copied_host(script, patched=True), **conformal(data, stage1_epochs=1))
        assert len(run.scalars) % 6 == 0  # epochs of three steps each
        assert all(math.isfinite(value) for _, _, value in run.scalars)
        said = [line for line in run.log if line.startswith("Conformal:") if "goes on" not in line]
        start, proof, first, second = said
        assert proof.startswith("Conformal: a gradient came back through ")
        assert "stage I for 1 of 2 epochs, mode replace" in start
        assert "epoch 0, stage I, " in first
        share = float(first.split()[5].removesuffix("%"))
        assert 40 < share < 90
        assert second == "Conformal: epoch 1, stage II, the host's own losses"

    def test_stage_one_of_no_epochs_is_the_host_to_the_bit(
        self, script, copied_host, run_host, data
    ):
        plain = run_host(copied_host(script, patched=False), save="plain_out")
        patched = run_host(copied_host(script, patched=True), **conformal(data, stage1_epochs=0))
        assert patched.scalars == plain.scalars

    def test_without_the_key_a_patched_script_runs_old_configs_to_the_bit(
        self, script, copied_host, run_host, data
    ):
        plain = run_host(copied_host(script, patched=False), save="plain_out")
        patched = run_host(copied_host(script, patched=True))
        assert patched.scalars == plain.scalars
        assert patched.log == plain.log

    def test_stage_one_learns_the_pseudo_labels(self, script, copied_host, run_host, data):
        """Labels that the photos do not hold: the host's own loss cannot lead to them."""
        for path in data.pseudo.iterdir():
            with Image.open(path) as image:
                size = image.size
            Image.new("L", size, 3).save(path)
            data.drop_labels(path.stem, slice(0, 4))
        options = conformal(data, stage1_epochs=6)
        run = run_host(copied_host(script, patched=True), epochs=6, **options)
        losses = run.values(UNLABELLED[script])
        assert len(losses) == 18
        assert sum(losses[-3:]) < 0.7 * sum(losses[:3])

    def test_no_kept_pixel_trains_on(self, script, copied_host, run_host, data):
        for i in range(6):
            data.drop_labels(f"p{i}", slice(None))
        with pytest.warns(UserWarning, match=r"kept 0.00% of \d+ valid pixels"):
            run = run_host(copied_host(script, patched=True), **conformal(data, stage1_epochs=1))
        if script != "medical/unimatch.py":  # its Dice loss of nothing is rounding alone
            assert set(run.values(UNLABELLED[script])[:3]) == {0}
        assert all(math.isfinite(value) for _, _, value in run.scalars)


# Python 3.12 and later point out that the process group has threads when a worker is forked.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("script", ["unimatch/unimatch.py", "allspark/train_allspark.py"])
def test_worker_processes_give_the_same_run(script, copied_host, run_host, data):
    plain = run_host(copied_host(script, patched=False), save="plain_out", workers=2)
    options = conformal(data, stage1_epochs=0)
    patched = run_host(copied_host(script, patched=True), workers=2, **options)
    assert patched.scalars == plain.scalars


def test_add_keeps_the_hosts_loss_beside_the_labels(copied_host, run_host, data):
    script = copied_host("unimatch/fixmatch.py", patched=True)

    def first_loss(**options):
        run = run_host(script, save="-".join(options) or "none", **conformal(data, **options))
        return run.values("train/loss_s")[0]

    host = first_loss(stage1_epochs=0)
    data.drop_labels("p0", slice(0, 4))
    with warnings.catch_warnings(record=True):  # next to all pixels are labelled
        warnings.simplefilter("always")
        alone = first_loss(stage1_epochs=1, mode="replace")
        both = first_loss(stage1_epochs=1, mode="add", weight=1)
    assert both == pytest.approx(host + alone)


def test_a_run_that_was_killed_goes_on_in_the_right_stage(copied_host, run_host, data, monkeypatch):
    for i in range(6):
        data.drop_labels(f"p{i}", slice(0, 12))
    script = copied_host("unimatch/unimatch.py", patched=True)
    text = script.read_text()
    killed = text.replace("optimizer.zero_grad()", "if epoch == 1: raise KeyboardInterrupt", 1)
    script.write_text(killed)
    options = {"epochs": 3, **conformal(data, stage1_epochs=2)}
    with pytest.raises(KeyboardInterrupt):
        run_host(script, **options)
    script.write_text(text)
    run = run_host(script, **options)
    epochs = [line for line in run.log if line.startswith("Conformal: epoch")]
    assert [line.split(", ")[:2] for line in epochs] == [
        ["Conformal: epoch 1", "stage I"],
        ["Conformal: epoch 2", "stage II"],
    ]


def test_every_stand_in_is_tested():
    by_hand = ("streams/train_fixmatch_2D.py", "teacher/train_semi.py")  # in test_by_hand.py
    assert sorted((*UNLABELLED, *by_hand)) == sorted(
        f"{path.parent.name}/{path.name}" for path in STANDIN.glob("*/*.py")
    )


def test_each_script_has_one_recipe():
    found = sorted((recipe.host, recipe.script) for recipe in known_recipes())
    assert found == [
        ("AllSpark", "train_allspark.py"),
        ("AllSpark", "train_baseline_semi.py"),
        ("CorrMatch", "corrmatch.py"),
        ("UniMatch", "fixmatch.py"),
        ("UniMatch", "unimatch.py"),
        ("UniMatch-V2", "fixmatch.py"),
        ("UniMatch-V2", "unimatch_v2.py"),
    ]
