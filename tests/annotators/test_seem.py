"""The SEEM driver keeps SEEM's call contract, and its scores lie in [0, 1] at the photo's size."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conformal_plugin.annotators import (
    CLASS_LISTS,
    Annotator,
    ClassList,
    SeemAnnotator,
    load_seem,
    load_xdecoder,
)
from conformal_plugin.annotators._seem_device import calls_for_cuda_mean, place_of
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


def configuration(name="seem_model_v1", queries=30, divisor=32, **more):
    return {
        "MODEL": {
            "NAME": name,
            "QUERIES": queries,
            "BACKBONE": {"NAME": "focal", "LOAD_PRETRAINED": False, "PRETRAINED": ""},
            "ENCODER": {"NAME": "transformer_encoder_fpn"},
            "DECODER": {"SIZE_DIVISIBILITY": divisor},
            **more,
        }
    }


SAM_VIT = {
    "BACKBONE": {"NAME": "vit", "LOAD_PRETRAINED": True, "PRETRAINED": "/nobackup3/of/the/author"},
    "ENCODER": {"NAME": "transformer_encoder_deform"},
}


def files_of(folder, options):
    """A configuration and weights of the stand-in."""
    from modeling import build_model

    (folder / "seem.yaml").write_text(json.dumps(options))
    parts = {**options["MODEL"], "BACKBONE": {"NAME": "none", "LOAD_PRETRAINED": False}}
    more = {"device": "cpu", "rank": 0, "world_size": 1, "CUDA": False}
    with calls_for_cuda_mean(torch.device("cpu")):
        model = build_model({"MODEL": parts, **more})
    with torch.no_grad():
        model.sem_seg_head.masks.bias.fill_(2.0)
    torch.save(model.state_dict(), folder / "seem.pt")
    return {"config": folder / "seem.yaml", "checkpoint": folder / "seem.pt"}


@pytest.fixture
def stand_in():
    sys.path.insert(0, str(CHECKOUT))


@pytest.fixture
def files(stand_in, tmp_path):
    return files_of(tmp_path, configuration())


@pytest.fixture
def operator(tmp_path, monkeypatch):
    """SEEM's compiled operator, as far as its import goes."""
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "MultiScaleDeformableAttention.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "built"))
    yield
    sys.modules.pop("MultiScaleDeformableAttention", None)


def loaded(files, load=load_seem, **more):
    settings = {"classes": CLASSES, "device": "cpu", **files, **more}
    return load(CHECKOUT, **settings)


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


@pytest.mark.parametrize(
    ("kind", "name"), [("seem", "seem_model_demo"), ("xdecoder", "xdecoder_model")]
)
def test_the_command_drives_it(kind, name, stand_in, tmp_path, monkeypatch, capsys):
    from conformal_plugin.cli import main

    files_of(tmp_path, configuration(name))

    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number, photo in enumerate(photos((40, 50), (30, 64))):
        Image.fromarray(photo).save(f"photos/{number}.png")
    Path("classes.json").write_text(json.dumps(dict(zip(CLASSES.class_names, CLASSES.prompts))))
    command = ["annotate", "--photos", "photos", "--annotator", kind, "--out", "maps"]
    command += ["--checkout", str(CHECKOUT), "--config", "seem.yaml", "--checkpoint", "seem.pt"]
    command += ["--classes", "classes.json", "--background-rule", "prompt", "--device", "cpu"]
    command += ["--short-side", "128", "--long-side", "200"]
    assert main(command) == 0, capsys.readouterr().err
    store = MapStore.open("maps")
    assert store.class_names == CLASSES.class_names
    assert store.annotator["annotator"] == kind
    assert (store.annotator["short_side"], store.annotator["long_side"]) == (128, 200)
    assert store.annotator["prompts"]["background"] == ["wall", "sky"]
    assert store.read("0").shape == (3, 40, 50)


def test_a_model_that_is_there_can_be_wrapped(stand_in):
    from modeling import build_model

    options = {**configuration(queries=5), "device": "cpu", "rank": 0, "world_size": 1}
    with calls_for_cuda_mean(torch.device("cpu")):
        model = build_model({**options, "CUDA": False})
    annotator = SeemAnnotator(model, classes=CLASSES, device="cpu")
    assert annotator.annotate(photos((20, 30)))[0].shape == (3, 20, 30)


def test_a_gpu_without_an_index_is_the_current_one(monkeypatch):
    """torch.cuda.set_device refuses a device without an index; the default has none."""
    used = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(torch._C, "_cuda_setDevice", used.append, raising=False)
    assert place_of("cuda") == torch.device("cuda:3")
    assert place_of("cuda:1") == torch.device("cuda:1")
    assert used == [3, 1]


def test_on_a_gpu_the_default_device_works(files):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    annotator = load_seem(CHECKOUT, classes=CLASSES, **files)
    (scores,) = annotator.annotate(photos((40, 50)))
    assert scores.device == torch.device("cuda", torch.cuda.current_device())
    (on_cpu,) = loaded(files).annotate(photos((40, 50)))
    torch.testing.assert_close(scores.cpu(), on_cpu, atol=1e-4, rtol=1e-3)
    half = load_seem(CHECKOUT, classes=CLASSES, amp="float16", **files)
    torch.testing.assert_close(
        half.annotate(photos((40, 50)))[0].cpu(), on_cpu, atol=0.02, rtol=0.02
    )


def test_without_a_gpu_it_is_said_and_the_cpu_answers(files, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(OptionError, match=r"finds no CUDA GPU here.*--device cpu"):
        load_seem(CHECKOUT, classes=CLASSES, **files)
    cuda, device = torch.Tensor.cuda, torch.cuda.current_device
    assert loaded(files).annotate(photos((20, 30)))[0].device.type == "cpu"
    assert torch.Tensor.cuda is cuda
    assert torch.cuda.current_device is device


def test_sam_vit_needs_no_file_of_its_authors(stand_in, operator, tmp_path):
    files = files_of(tmp_path, configuration(divisor=1024, **SAM_VIT))
    annotator = loaded(files)
    assert float(annotator._model.sem_seg_head.masks.bias.detach().min()) == 2.0
    # Its backbone takes 1024 x 1024 alone: photos wider than 2:1 are bounded by their long side.
    maps = annotator.annotate(photos((30, 47), (20, 90)))
    assert annotator._model.calls == [[(3, 512, 802)], [(3, 227, 1024)]]
    assert [tuple(m.shape) for m in maps] == [(3, 30, 47), (3, 20, 90)]
    assert annotator.fingerprint["long_side"] == 1024
    assert loaded(files, short_side=4000, long_side=900).fingerprint["long_side"] == 900


def test_a_missing_operator_is_named_before_seem_stumbles(stand_in, tmp_path):
    (tmp_path / "op").mkdir()
    fitting = files_of(tmp_path, configuration())
    (tmp_path / "seem.yaml").write_text(json.dumps(configuration(divisor=1024, **SAM_VIT)))
    with pytest.raises(SourceFileError, match=r"MultiScaleDeformableAttention.*sh make.sh"):
        loaded(fitting)


def test_the_sides_can_be_chosen(files):
    annotator = loaded(files, short_side=100, long_side=160)
    annotator.annotate(photos((30, 40), (30, 90)))
    assert annotator._model.calls == [[(3, 100, 133)], [(3, 53, 160)]]
    assert annotator.fingerprint["short_side"] == 100
    for sides in ({"short_side": 0}, {"long_side": 1.5}):
        with pytest.raises(OptionError, match="must be a whole number of pixels above 0"):
            loaded(files, **sides)


def test_seem_is_asked_for_no_more_pixels_than_memory_allows(stand_in, tmp_path):
    annotator = loaded(files_of(tmp_path, configuration(queries=2)))
    (photo,) = photos((1200, 2400))
    (scores,) = annotator.annotate([photo])
    ((size,),) = annotator._model.asked_sizes
    assert size == (1024, 2048)  # 2 ** 21 pixels
    assert scores.shape == (3, 1200, 2400)
    annotator.annotate(photos((1024, 2048)))
    assert annotator._model.asked_sizes[1] == [(1024, 2048)]


@pytest.mark.parametrize("amp", ["bfloat16", "float16"])
def test_a_mixed_precision_that_cannot_resize_masks_is_refused(files, amp, monkeypatch):
    def interpolate(masks, **more):
        raise RuntimeError(f"not implemented for {masks.dtype}")

    monkeypatch.setattr("conformal_plugin.annotators._seem_device.interpolate", interpolate)
    told = rf"cannot run in {amp} on cpu.*torch.{amp}|was to run in {amp} on cpu, which torch"
    with pytest.raises(OptionError, match=told):
        loaded(files, amp=amp)


def test_imports_that_fail_in_any_way_are_told(files, tmp_path):
    checkout = tmp_path / "SEEM"
    for folder in ("modeling", "utils"):
        (checkout / folder).mkdir(parents=True)
    # As wandb beside protobuf 7 does.
    (checkout / "utils" / "arguments.py").write_text("raise AttributeError('MessageFactory')")
    sys.path.remove(str(CHECKOUT))
    for name in [n for n in sys.modules if n.split(".")[0] in ("modeling", "utils")]:
        del sys.modules[name]
    with pytest.raises(SourceFileError, match="cannot be imported.*AttributeError: MessageFactory"):
        load_seem(checkout, classes=CLASSES, device="cpu", **files)


def test_what_seem_stumbles_over_is_told(files, tmp_path):
    (tmp_path / "seem.yaml").write_text(json.dumps(configuration("seem_model_v2")))
    with pytest.raises(SourceFileError, match="cannot build the model.*KeyError: 'seem_model_v2'"):
        loaded(files)
    (tmp_path / "seem.yaml").write_text(json.dumps({"MODEL": {"NAME": "seem_model_v1"}}))
    with pytest.raises(SourceFileError, match="is no configuration of SEEM's: it lacks 'ENCODER'"):
        loaded(files)


@pytest.mark.parametrize("words", [[], [" Background"], ["wall", "background"]])
def test_background_is_not_asked_for_by_the_word_for_no_object(files, words):
    classes = ClassList.of({"background": words, "cat": []})
    with pytest.raises(OptionError, match=r"SEEM's text for \"no object\".*voc-stuff"):
        loaded(files, classes=classes)
    assert loaded(files, classes=classes, background="complement").class_names[1] == "cat"


def test_voc_is_asked_for_with_stuff(files):
    annotator = loaded(files, classes=CLASS_LISTS["voc-stuff"])
    assert annotator.class_names == CLASS_LISTS["voc"].class_names
    asked = annotator._model.sem_seg_head.predictor.lang_encoder.asked
    assert asked.count("background") == 1
    assert asked[:2] == ["wall", "building"]
    assert asked[-2:] == ["tv", "background"]


def test_xdecoder_is_an_annotator_of_its_own(stand_in, tmp_path):
    files = files_of(tmp_path, configuration("xdecoder_model"))
    annotator = loaded(files, load_xdecoder)
    assert annotator.fingerprint["annotator"] == "xdecoder"
    assert annotator.annotate(photos((20, 30)))[0].shape == (3, 20, 30)
    with pytest.raises(OptionError, match="use the annotator xdecoder"):
        loaded(files)
    files = files_of(tmp_path, configuration())
    assert loaded(files).fingerprint["annotator"] == "seem"
    with pytest.raises(OptionError, match="use the annotator seem"):
        loaded(files, load_xdecoder)
