"""Grounding DINO finds boxes for words, SAM 2 makes masks of them, and both become scores."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from conformal_plugin.annotators import (
    Annotator,
    ClassList,
    _grounded_sam as grounded_sam,
    load_grounded_sam,
)
from conformal_plugin.errors import OptionError, SourceFileError
from conformal_plugin.files import MapStore

DETECTORS = ("grounding_dino", "mm_grounding_dino")
SEGMENTERS = ("sam2", "sam2_video")
CLASSES = ClassList.of({"background": [], "cat": ["cat", "kitten"], "dog": [], "ox": []})
CAT = ClassList.of({"cat": []})

pytestmark = pytest.mark.usefixtures("sam2_processor")


def photos(*sizes):
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


@pytest.mark.parametrize("segmenter", SEGMENTERS)
@pytest.mark.parametrize("detector", DETECTORS)
def test_maps_depend_on_the_photo_alone(detector, segmenter, tiny):
    annotator = load_grounded_sam(tiny(detector), tiny(segmenter), classes=CLASSES)
    assert isinstance(annotator, Annotator)
    three = photos((30, 50), (61, 37), (30, 50))
    maps = annotator.annotate(three)
    assert [tuple(m.shape) for m in maps] == [(4, 30, 50), (4, 61, 37), (4, 30, 50)]
    for photo, scores in zip(three, maps):
        assert scores.dtype == torch.float32
        assert 0 <= float(scores.min()) < float(scores.max()) <= 1
        torch.testing.assert_close(scores[0], 1 - scores[1:].amax(dim=0))
        assert torch.equal(annotator.annotate([photo])[0], scores)
    assert not torch.equal(maps[0], maps[2])


@pytest.mark.parametrize("segmenter", SEGMENTERS)
@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("size", [(30, 50), (61, 37), (20, 90)])
def test_scores_are_those_of_the_processors(size, detector, segmenter, tiny, sam2_processor):
    """Boxes, their scores and masks by the models' own classes and post-processing.

    The processor's scores count the marks at the ends of a text, too, which belong to no word.
    """
    import transformers as t

    threshold = 0.3
    annotator = load_grounded_sam(
        tiny(detector), tiny(segmenter), classes=CAT, background="none", box_threshold=threshold
    )
    (photo,) = photos(size)
    (scores,) = annotator.annotate([photo])
    words = t.AutoProcessor.from_pretrained(tiny(detector))
    find = t.AutoModelForZeroShotObjectDetection.from_pretrained(tiny(detector)).eval()
    asked = words(images=[photo], text=[["cat"]], return_tensors="pt")
    boxes_to_masks = sam2_processor.from_pretrained(tiny(segmenter))
    segment = t.Sam2Model.from_pretrained(tiny(segmenter)).eval()
    with torch.no_grad():
        outputs = find(**asked)
        outputs.logits[..., [0, 4, 5]] = -torch.inf
        (found,) = words.post_process_grounded_object_detection(
            outputs, asked["input_ids"], threshold=threshold, target_sizes=[size]
        )
        assert len(found["scores"]) > 0
        inputs = boxes_to_masks(
            images=[photo], input_boxes=[found["boxes"].tolist()], return_tensors="pt"
        )
        outputs = segment(
            pixel_values=inputs["pixel_values"],
            input_boxes=inputs["input_boxes"],
            multimask_output=False,
        )
        (masks,) = boxes_to_masks.post_process_masks(
            outputs.pred_masks, inputs["original_sizes"], binarize=False
        )
    expected = (found["scores"][:, None, None] * masks[:, 0].sigmoid()).amax(0)
    torch.testing.assert_close(scores[0], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_word_has_the_share_of_its_tokens(detector, tiny):
    """Which tokens are whose, by the model's own label map; the largest is the score."""
    import transformers as t
    from transformers.models.grounding_dino.modeling_grounding_dino import build_label_maps

    annotator = load_grounded_sam(tiny(detector), tiny("sam2"), classes=CLASSES)
    (photo,) = photos((30, 50))
    boxes, shares = annotator._find(photo)
    processor = t.AutoProcessor.from_pretrained(tiny(detector))
    model = t.AutoModelForZeroShotObjectDetection.from_pretrained(tiny(detector)).eval()
    words = ["cat", "kitten", "dog", "ox"]
    asked = processor(images=[photo], text=[words], return_tensors="pt")
    with torch.no_grad():
        outputs = model(**asked)
    (label_map,) = build_label_maps(outputs.logits, asked["input_ids"])
    assert label_map.sum(1).tolist() == [len(word) for word in words]
    each = outputs.logits[0].sigmoid()
    expected = torch.stack([each[:, tokens.bool()].amax(1) for tokens in label_map], dim=1)
    torch.testing.assert_close(shares, expected)
    (found,) = processor.post_process_grounded_object_detection(
        outputs, asked["input_ids"], threshold=0.0, target_sizes=[(30, 50)]
    )
    torch.testing.assert_close(boxes, found["boxes"], atol=1e-4, rtol=1e-4)
    marks = each[:, ~label_map.sum(0).bool()].amax(1)
    torch.testing.assert_close(torch.maximum(shares.amax(1), marks), found["scores"])


def test_words_that_one_text_does_not_hold_go_into_several(tiny):
    """The tiny model's text holds 32 tokens, and knows letters alone."""
    many = ClassList.of(
        {word: [] for word in ("elephant", "crocodile", "giraffe", "zebra", "hippo")}
    )
    annotator = load_grounded_sam(
        tiny("grounding_dino"), tiny("sam2"), classes=many, background="none"
    )
    (photo,) = photos((30, 50))
    boxes, shares = annotator._find(photo)
    assert tuple(boxes.shape) == (12, 4)
    assert tuple(shares.shape) == (12, 5)
    first, second = shares[:6], shares[6:]
    assert (first[:, :3] > 0).all()
    assert (second[:, 3:] > 0).all()
    assert not first[:, 3:].any()
    assert not second[:, :3].any()
    alone = ClassList.of({"zebra": [], "hippo": []})
    other = load_grounded_sam(
        tiny("grounding_dino"), tiny("sam2"), classes=alone, background="none"
    )
    torch.testing.assert_close(annotator._find(photo)[1][6:, 3:], other._find(photo)[1])


def test_boxes_below_the_threshold_do_not_count(tiny, monkeypatch):
    parts = (tiny("grounding_dino"), tiny("sam2"))
    (photo,) = photos((30, 50))
    every = load_grounded_sam(*parts, classes=CLASSES, box_threshold=0.0)
    shares = every._find(photo)[1]
    none = load_grounded_sam(*parts, classes=CLASSES, box_threshold=0.999)
    assert none.fingerprint != every.fingerprint
    monkeypatch.setattr(none, "_masks", None)  # is not asked
    assert none.annotate([photo])[0][1:].max() == 0
    # A threshold between the classes' best boxes leaves the better ones alone.
    best = torch.stack([part.amax() for part in shares.split([2, 1, 1], dim=1)])
    middle = float(best.sort().values[1])
    some = load_grounded_sam(*parts, classes=CLASSES, box_threshold=middle)
    (scores,) = some.annotate([photo])
    assert [bool(k.any()) for k in scores[1:]] == (best > middle).tolist()
    # Of many boxes the surest are looked at.
    looked = []
    monkeypatch.setattr(grounded_sam, "_MOST_BOXES", 2)
    masks = every._masks
    monkeypatch.setattr(
        every, "_masks", lambda p, boxes: looked.append(len(boxes)) or masks(p, boxes)
    )
    every.annotate([photo])
    assert looked == [2]


@pytest.mark.parametrize("segmenter", SEGMENTERS)
def test_sam2_is_loaded_whole(segmenter, tiny):
    """Tensors that are not found in a folder are made up by transformers, with a warning alone."""
    import transformers as t

    annotator = load_grounded_sam(tiny("grounding_dino"), tiny(segmenter), classes=CLASSES)
    loaded = annotator._masks._run.model.state_dict()
    kind = {"sam2": "Sam2Model", "sam2_video": "Sam2VideoModel"}[segmenter]
    saved = getattr(t, kind).from_pretrained(tiny(segmenter)).state_dict()
    assert loaded.keys() <= saved.keys()
    assert all(torch.equal(loaded[name], saved[name]) for name in loaded)


def test_mixed_precision_stays_close(tiny):
    parts = (tiny("grounding_dino"), tiny("sam2"))
    exact = load_grounded_sam(*parts, classes=CLASSES)
    mixed = load_grounded_sam(*parts, classes=CLASSES, amp="bfloat16")
    (photo,) = photos((30, 50))
    wrong = (mixed.annotate([photo])[0] - exact.annotate([photo])[0]).abs()
    assert float(wrong.mean()) < 0.05
    assert exact.fingerprint != mixed.fingerprint


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["St. Bernard"], "'St. Bernard' holds a full stop"),
        (["cat?"], "'cat\\?' holds a full stop or a question mark"),
        (["a" * 40], "41 tokens long, and the model's text holds 30"),
        (["cat", "\u200b"], "as 1 phrases, and they are 2"),
    ],
)
def test_words_that_cannot_be_asked_for(words, message, tiny):
    classes = ClassList.of({"background": [], "cat": words})
    with pytest.raises(OptionError, match=message):
        load_grounded_sam(tiny("grounding_dino"), tiny("sam2"), classes=classes)


def test_other_models_and_thresholds_are_refused(tiny, tmp_path):
    find, segment = tiny("grounding_dino"), tiny("sam2")
    with pytest.raises(OptionError, match="boxes come from Grounding DINO.* type 'segformer'"):
        load_grounded_sam(tiny("segformer"), segment, classes=CLASSES)
    with pytest.raises(OptionError, match="masks of boxes come from SAM 2.* 'grounding-dino'"):
        load_grounded_sam(find, find, classes=CLASSES)
    with pytest.raises(SourceFileError, match="cannot load the model"):
        load_grounded_sam(tmp_path / "nothing", segment, classes=CLASSES)
    for threshold in (1, -0.1, float("nan"), True, "0.1"):
        with pytest.raises(OptionError, match="box_threshold must be a number"):
            load_grounded_sam(find, segment, classes=CLASSES, box_threshold=threshold)


def test_the_command_takes_it(tiny, tmp_path, monkeypatch, capsys):
    from conformal_plugin.cli import main

    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number, photo in enumerate(photos((30, 40), (20, 50))):
        Image.fromarray(photo).save(f"photos/{number}.png")
    CLASSES.write("words.json")
    command = ["annotate", "--photos", "photos", "--out", "maps", "--annotator", "grounded-sam"]
    command += ["--classes", "words.json", "--model", str(tiny("grounding_dino"))]
    assert main(command) != 0
    assert "--segmenter is missing" in capsys.readouterr().err
    command += ["--segmenter", str(tiny("sam2"))]
    assert main([*command, "--short-side", "512"]) != 0
    assert "--short-side is not for --annotator grounded-sam" in capsys.readouterr().err
    assert main([*command, "--box-threshold", "0.25"]) == 0
    store = MapStore.open("maps")
    assert store.class_names == CLASSES.class_names
    assert store.annotator["prompts"]["cat"] == ["cat", "kitten"]
    assert store.annotator["box_threshold"] == 0.25
    assert main([*command, "--box-threshold", "0.5"]) != 0  # maps of another annotator are there
    capsys.readouterr()
    # As do words that were edited.
    Path("words.json").write_text(Path("words.json").read_text().replace("kitten", "tomcat"))
    assert main([*command, "--box-threshold", "0.25"]) != 0
    assert "another annotator" in capsys.readouterr().err


def test_without_torchvision_it_is_named(tiny, monkeypatch):
    """What transformers says of SAM 2's processor, which is made of it."""
    import transformers as t

    def lacking(name):
        raise ImportError("Sam2ImageProcessor requires the Torchvision library")

    monkeypatch.setattr(t, "Sam2Processor", SimpleNamespace(from_pretrained=lacking))
    with pytest.raises(SourceFileError, match="requires the Torchvision library"):
        load_grounded_sam(tiny("grounding_dino"), tiny("sam2"), classes=CLASSES)
