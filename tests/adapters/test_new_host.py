"""The module of docs/new-host.md is a whole host: it is patched and trains in two stages."""

from __future__ import annotations

import importlib
import re
import sys
import textwrap

import pytest

from conformal_plugin.adapters.patching import remove
from conformal_plugin.adapters.patching._patching import patch

SCRIPT = textwrap.dedent(
    '''
    """MyMatch as short as it gets."""

    import torch
    from standin_run import Network, SummaryWriter, distributed, make_loaders, read_arguments, start
    from standin_semi import SemiDataset as Parent
    from standin_transform import normalize


    class SemiDataset(Parent):
        def unlabelled(self, img, ignore_mask, line):
            return normalize(img), 1 - normalize(img), ignore_mask


    def main():
        args, cfg = read_arguments()
        start()
        writer = SummaryWriter(args.save_path)
        model = distributed(Network(cfg))
        optimizer = torch.optim.SGD(model.parameters(), lr=cfg["lr"])
        criterion_l = torch.nn.CrossEntropyLoss(ignore_index=255)
        criterion_u = torch.nn.CrossEntropyLoss(reduction="none")
        root, size = cfg["data_root"], cfg["crop_size"]
        trainset_u = SemiDataset("pascal", root, "train_u", size, args.unlabeled_id_path)
        trainloader_l, trainloader_u = make_loaders(SemiDataset, trainset_u, args, cfg)
        for epoch in range(cfg["epochs"]):
            loader = zip(trainloader_l, trainloader_u)
            for i, ((img_x, mask_x), (img_w, img_s, ignore_mask)) in enumerate(loader):
                pred_u = model(img_s)
                valid = ignore_mask != 255
                loss_u = criterion_u(pred_u, model(img_w).detach().argmax(1)) * valid
                loss_u = loss_u.sum() / valid.sum()
                loss = criterion_l(model(img_x), mask_x) + loss_u
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                writer.add_scalars(3 * epoch + i, {"loss": loss.item()})


    if __name__ == "__main__":
        main()
    '''
).lstrip()


@pytest.fixture
def mymatch(root, tmp_path, monkeypatch):
    """The page's module, imported as a user's own."""
    page = (root / "docs" / "new-host.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "mymatch.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    yield importlib.import_module("mymatch")
    del sys.modules["mymatch"]


def test_the_module_of_the_page_is_a_whole_host(mymatch, tmp_path, run_host, data):
    for i in range(6):
        data.drop_labels(f"p{i}", slice(0, 12))
    plain = tmp_path / "train_mymatch.py"
    plain.write_text(SCRIPT)
    result = patch(plain.read_bytes(), mymatch.RECIPES)
    assert result.after is not None, result.problems
    assert remove(result.after).after == plain.read_bytes()
    script = tmp_path / "patched" / "train_mymatch.py"
    script.parent.mkdir()
    script.write_bytes(result.after)

    def conformal(stage1):
        return {"conformal": {"pseudo_labels": str(data.pseudo), "stage1_epochs": stage1}}

    host = run_host(plain, save="plain").scalars
    assert run_host(script, save="none", **conformal(0)).scalars == host
    run = run_host(script, save="two", **conformal(1))
    assert run.scalars != host
    first, second = [line for line in run.log if line.startswith("Conformal: epoch")]
    assert ["stage I," in first, "stage II," in second] == [True, True]


def test_the_page_names_what_there_is(root):
    page = (root / "docs" / "new-host.md").read_text(encoding="utf-8")
    for path in re.findall(r"`((?:adapters|tests)/[\w/.]+)`", page):
        assert (root / path).exists(), path
