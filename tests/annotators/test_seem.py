"""The SEEM driver keeps SEEM's call contract, and its scores lie in [0, 1] at the photo's size."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conformal_plugin.annotators import Annotator, ClassList, SeemAnnotator, load_seem
from conformal_plugin.errors import OptionError, SourceFileError
from conformal_plugin.files import MapStore

CHECKOUT = Path(__file__).parent / "seem_stand_in"
CLASSES = ClassList.of({"background": ["wall", "sky"], "cat": [], "dog": ["dog", "puppy"]})


@pytest.fixture(autouse=True)
def its_own_modules():
    """SEEM's packages have names that others use too: forget them after each test."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in [n for n in sys.modules if n.split(".")[0] in ("modeling", "utils")]:
        del sys.modules[name]


@pytest.fixture
def files(tmp_path):
    """A configuration and weights of the stand-in."""
    (tmp_path / "seem.yaml").write_text(json.dumps({"MODEL": {"QUERIES": 30}}))
    sys.path.insert(0, str(CHECKOUT))
    from modeling import Seem

    model = Seem({"MODEL": {"QUERIES": 30}})
    with torch.no_grad():
        model.sem_seg_head.masks.bias.fill_(2.0)
    torch.save(model.state_dict(), tmp_path / "seem.pt")
    return {"config": tmp_path / "seem.yaml", "checkpoint": tmp_path / "seem.pt"}


def loaded(files, **more):
    settings = {"classes": CLASSES, "device": "cpu", **files, **more}
    return load_seem(CHECKOUT, **settings)


def photos(*sizes):
    rng = np.random.default_rng(2)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def test_it_asks_and_sizes_as_seem_expects(files):
    annotator = loaded(files)
    assert isinstance(annotator, Annotator)
    model = annotator._model
    language = model.sem_seg_head.predictor.lang_encoder
    assert language.asked == ["wall", "sky", "cat", "dog", "puppy", "background"]
    assert model.sem_seg_head.num_classes == 5
    maps = annotator.annotate(photos((30, 47), (64, 40), (30, 47)))
    assert [tuple(m.shape) for m in maps] == [(3, 30, 47), (3, 64, 40), (3, 30, 47)]
    # One call a size, short side 512; the long side as torchvision's Resize rounds it.
    assert model.calls == [[(3, 512, 802), (3, 512, 802)], [(3, 819, 512)]]
    for scores in maps:
        assert scores.dtype == torch.float32
        assert 0 <= float(scores.min()) <= float(scores.max()) <= 1


def test_sums_above_one_are_limited_and_prompts_of_a_class_added(files):
    annotator = loaded(files)
    (photo,) = photos((40, 50))
    (scores,) = annotator.annotate([photo])
    raw = annotator._run([photo])[0]["sem_seg"]
    assert float(raw.max()) > 1  # as SEEM's own sums are
    joined = torch.stack([raw[:2].sum(0), raw[2], raw[3:].sum(0)]).clamp(0, 1)
    torch.testing.assert_close(scores, joined)


def test_complement_asks_for_the_foreground_alone(files):
    annotator = loaded(files, background="complement")
    assert annotator._model.sem_seg_head.predictor.lang_encoder.asked[:-1] == [
        "cat",
        "dog",
        "puppy",
    ]
    (scores,) = annotator.annotate(photos((40, 50)))
    assert scores.shape == (3, 40, 50)
    torch.testing.assert_close(scores[0], 1 - scores[1:].amax(dim=0))


def test_a_photo_does_not_depend_on_its_neighbours(files):
    annotator = loaded(files)
    three = photos((40, 50), (70, 30), (33, 90))
    together = annotator.annotate(three)
    for photo, scores in zip(three, together):
        torch.testing.assert_close(annotator.annotate([photo])[0], scores)


def test_the_weights_are_loaded_and_told_apart(files, tmp_path):
    annotator = loaded(files)
    assert float(annotator._model.sem_seg_head.masks.bias.detach().min()) == 2.0
    assert annotator.notes == ()
    state = torch.load(files["checkpoint"], weights_only=True)
    state.pop("sem_seg_head.masks.bias")
    torch.save(state, tmp_path / "other.pt")
    other = loaded({**files, "checkpoint": tmp_path / "other.pt"})
    assert "tensors that are not in the checkpoint, 1: " in other.notes[0]
    assert "sem_seg_head.masks.bias" in other.notes[0]
    assert other.fingerprint["checkpoint"] != annotator.fingerprint["checkpoint"]
    assert loaded(files, background="complement").fingerprint != annotator.fingerprint
    assert json.loads(json.dumps(annotator.fingerprint)) == annotator.fingerprint


class Malicious:
    def __reduce__(self):
        return (Path.touch, (Path("was-run"),))


def test_a_checkpoint_is_never_unpickled(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Malicious()}, tmp_path / "bad.pt")
    with pytest.raises(SourceFileError, match="cannot load the SEEM checkpoint"):
        loaded({**files, "checkpoint": tmp_path / "bad.pt"})
    assert not (tmp_path / "was-run").exists()


def test_a_checkpoint_of_another_model_is_refused(files, tmp_path):
    torch.save({"x": torch.zeros(3)}, tmp_path / "foreign.pt")
    with pytest.raises(SourceFileError, match="has 0 of the 4 tensors"):
        loaded({**files, "checkpoint": tmp_path / "foreign.pt"})


def test_wrong_paths_are_told(files, tmp_path):
    with pytest.raises(SourceFileError, match="no checkout of SEEM's branch v1.0"):
        load_seem(tmp_path, classes=CLASSES, device="cpu", **files)
    with pytest.raises(SourceFileError, match="there is no SEEM checkpoint at"):
        loaded({**files, "checkpoint": tmp_path / "none.pt"})
    with pytest.raises(OptionError, match="choose prompt or complement"):
        loaded(files, background="none")


def test_modules_of_the_same_name_are_not_mistaken_for_seem(files, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "utils").mkdir()
    (tmp_path / "utils" / "arguments.py").write_text("")
    for name in [n for n in sys.modules if n.split(".")[0] in ("modeling", "utils")]:
        del sys.modules[name]
    sys.path.remove(str(CHECKOUT))
    import utils.arguments  # noqa: F401

    with pytest.raises(OptionError, match="before SEEM's; drive SEEM in a process of its own"):
        loaded(files)


def test_the_command_drives_it(files, tmp_path, monkeypatch, capsys):
    from conformal_plugin.cli import main

    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number, photo in enumerate(photos((40, 50), (30, 64))):
        Image.fromarray(photo).save(f"photos/{number}.png")
    Path("classes.json").write_text(json.dumps(dict(zip(CLASSES.class_names, CLASSES.prompts))))
    command = ["annotate", "--photos", "photos", "--annotator", "seem", "--out", "maps"]
    command += ["--checkout", str(CHECKOUT), "--config", "seem.yaml", "--checkpoint", "seem.pt"]
    command += ["--classes", "classes.json", "--background-rule", "prompt", "--device", "cpu"]
    assert main(command) == 0, capsys.readouterr().err
    store = MapStore.open("maps")
    assert store.class_names == CLASSES.class_names
    assert store.annotator["annotator"] == "seem"
    assert store.annotator["prompts"]["background"] == ["wall", "sky"]
    assert store.read("0").shape == (3, 40, 50)


def test_a_model_that_is_there_can_be_wrapped(files):
    sys.path.insert(0, str(CHECKOUT))
    from modeling import build_model

    options = {"MODEL": {"QUERIES": 5}, "device": "cpu", "rank": 0, "world_size": 1, "CUDA": False}
    annotator = SeemAnnotator(build_model(options), classes=CLASSES, device="cpu")
    assert annotator.annotate(photos((20, 30)))[0].shape == (3, 20, 30)
