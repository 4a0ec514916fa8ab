"""Conformal labels of real photos, through a patched stand-in: every step of a user's, in small."""

from __future__ import annotations

import math

import pytest

from conformal_plugin.cli import main


@pytest.mark.real
def test_a_host_learns_conformal_labels_of_real_photos(voc, tmp_path, copied_host, run_host):
    names = (voc / "splits" / "labeled_92.txt").read_text().split()[:20]
    others = (voc / "splits" / "unlabeled_345.txt").read_text().split()[:6]

    def listed(name, ids, line="{0}"):
        path = tmp_path / f"{name}.txt"
        path.write_text("".join(line.format(id) + "\n" for id in ids))
        return str(path)

    maps, pseudo, calibration = str(voc / "probs"), str(tmp_path / "real"), str(tmp_path / "c.json")
    calibrate = ["--labels", str(voc / "labels"), "--ids", listed("calibrate", names)]
    assert main(["calibrate", "--maps", maps, *calibrate, "--alpha", "0.2", "-o", calibration]) == 0
    choose = ["--ids", listed("filter", others), "--calibration", calibration]
    assert main(["filter", "--maps", maps, *choose, "--out", pseudo, "--quiet"]) == 0

    line = "images/{0}.jpg labels/{0}.png"
    run = run_host(
        copied_host("unimatch/unimatch.py", patched=True),
        labelled=listed("labelled", names[:6], line),
        unlabelled=listed("unlabelled", others, line),
        data_root=str(voc),
        nclass=21,
        crop_size=65,
        epochs=5,
        conformal={"pseudo_labels": pseudo, "stage1_epochs": 4, "calibration": calibration},
    )
    assert all(math.isfinite(value) for _, _, value in run.scalars)
    losses = run.values("train/loss_s")[: 4 * 3]
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
    shares = [float(line.split()[5].removesuffix("%")) for line in run.log if "stage I," in line]
    assert len(shares) == 4
    assert all(20 < share < 99 for share in shares)
