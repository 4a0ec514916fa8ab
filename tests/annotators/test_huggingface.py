"""Models of transformers give scores of the wanted classes in [0, 1], each in its place."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from double_precision import in_double
from PIL import Image

from conformal_plugin.annotators import Annotator, ClassList, _mixed_precision, load_transformers
from conformal_plugin.annotators._huggingface import TransformersAnnotator
from conformal_plugin.errors import MissingExtraError, OptionError, SourceFileError
from conformal_plugin.files import MapStore, read_label, write_label

CLASSES = ClassList.of({"background": [], "cat": [], "diningtable": ["dining table"], "dog": []})
EOMT = ("eomt", "eomt_dinov3")
KINDS = (
    *EOMT, "mask2former", "maskformer", "oneformer", "segformer", "upernet", "beit", "data2vec",
    "mobilevit", "mobilevitv2", "mobilenet_v2", "dpt", "sapiens2", "tipsv2_dpt", "clipseg",
)  # fmt: skip


def model_of(annotator):
    return annotator._scores.__self__._run.model


def photos(*sizes):
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


@pytest.mark.filterwarnings("ignore:torch.meshgrid")  # of OneFormer before transformers 5
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_maps_that_depend_on_the_photo_alone(tiny, kind):
    annotator = load_transformers(tiny(kind), classes=CLASSES)
    assert isinstance(annotator, Annotator)
    in_double(model_of(annotator))
    three = photos((30, 50), (50, 30), (30, 50))
    maps = annotator.annotate(three)
    assert [tuple(m.shape) for m in maps] == [(4, 30, 50), (4, 50, 30), (4, 30, 50)]
    for photo, scores in zip(three, maps):
        assert scores.dtype == torch.float32
        assert 0 <= float(scores.min()) <= float(scores.max()) <= 1
        torch.testing.assert_close(scores[0], 1 - scores[1:].amax(dim=0))
        torch.testing.assert_close(annotator.annotate([photo])[0], scores, atol=1e-7, rtol=1e-6)
    assert not torch.equal(maps[0], maps[2])


@pytest.mark.parametrize(
    ("kind", "part", "passes"),
    [
        ("segformer", "", [5]),
        ("clipseg", "clip.vision_model", [5]),
        ("mask2former", "", [4, 1]),
        ("eomt", "", [10]),  # 1, 2, 2, 1 and 4 squares
    ],
)
def test_photos_that_the_model_sees_in_one_size_go_through_it_together(kind, part, passes, tiny):
    """Whatever their own sizes, and each as if it were alone."""
    annotator = load_transformers(tiny(kind), classes=CLASSES)
    seen = []
    in_double(model_of(annotator)).get_submodule(part).register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    several = photos((40, 40), (40, 60), (60, 40), (20, 20), (20, 80))
    maps = annotator.annotate(several)
    assert seen == passes
    for photo, scores in zip(several, maps):
        assert tuple(scores.shape) == (4, *photo.shape[:2])
        torch.testing.assert_close(annotator.annotate([photo])[0], scores, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("size", [(3, 40), (1, 30), (3, 3), (1, 1)])
@pytest.mark.parametrize("kind", ["segformer", "eomt"])
def test_a_photo_of_three_pixels_in_height_is_not_read_sideways(kind, size, tiny):
    """Where the first side is 1 or 3, processors take it for the colours."""
    import transformers

    annotator = load_transformers(tiny(kind), classes=CLASSES)
    (photo,) = photos(size)
    (scores,) = annotator.annotate([photo])
    processor = transformers.AutoImageProcessor.from_pretrained(tiny(kind))
    first = processor(images=[photo.transpose(2, 0, 1)], return_tensors="pt")
    run = annotator._scores.__self__._run
    seen = []
    run.model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["pixel_values"]), with_kwargs=True
    )
    torch.testing.assert_close(annotator.annotate([photo])[0], scores)
    assert tuple(scores.shape) == (4, *size)
    torch.testing.assert_close(seen[0], first["pixel_values"])


@pytest.mark.parametrize("kind", ["mask2former", "segformer"])
def test_scores_are_those_of_the_formula(tiny, kind):
    """Computed again from the model's raw output, class by class."""
    import transformers

    annotator = load_transformers(tiny(kind), classes=CLASSES)
    (photo,) = photos((48, 64))
    processor = transformers.AutoImageProcessor.from_pretrained(tiny(kind))
    pixels = processor(images=[photo], return_tensors="pt")["pixel_values"]
    (scores,) = annotator.annotate([photo])
    model = annotator._scores.__self__._run.model
    with torch.no_grad():
        out = model(pixel_values=pixels)
    if kind == "mask2former":
        queries = out.class_queries_logits[0].softmax(-1)
        masks = torch.nn.functional.interpolate(
            out.masks_queries_logits, size=(48, 64), mode="bilinear"
        )[0].sigmoid()
        expected = [(queries[:, c, None, None] * masks).sum(0) for c in (1, 3, 2)]
    else:
        logits = torch.nn.functional.interpolate(out.logits, size=(48, 64), mode="bilinear")[0]
        expected = [logits.exp()[c] / logits.exp().sum(0) for c in (1, 3, 2)]
    torch.testing.assert_close(scores[1:], torch.stack(expected).clamp(0, 1))


class Padding:
    """A processor that fills up to a square, and a model whose one mask is the filled-in photo."""

    config = SimpleNamespace(model_type="mask2former", id2label={0: "cat", 1: "dog"})

    def __call__(self, images=None, return_tensors=None, **inputs):
        if images is None:
            return self.forward(**inputs)
        height, width = images[0].shape[:2]
        pixels = torch.zeros(len(images), 3, 96, 96)
        valid = torch.zeros(len(images), 96, 96, dtype=torch.long)
        for i, image in enumerate(images):
            pixels[i, :, :height, :width] = torch.from_numpy(image).permute(2, 0, 1)
            valid[i, :height, :width] = 1
        return {"pixel_values": pixels, "pixel_mask": valid}

    def forward(self, pixel_values, pixel_mask):
        masks = torch.where(pixel_values[:, :1, ::4, ::4] > 128, 20.0, -20.0)
        logits = torch.tensor([[[30.0, 0.0, 0.0]]]).expand(len(masks), -1, -1)
        return SimpleNamespace(class_queries_logits=logits, masks_queries_logits=masks)

    def eval(self):
        return self

    def to(self, device):
        return self

    def state_dict(self):
        return {}


def test_what_a_processor_fills_up_does_not_shift_the_map():
    classes = ClassList.of({"background": [], "cat": [], "dog": []})
    stub = Padding()
    annotator = TransformersAnnotator(stub, stub, "universal", classes=classes)
    photo = np.zeros((40, 80, 3), np.uint8)
    photo[20:, 60:] = 255
    (scores,) = annotator.annotate([photo])
    cat = scores[1] > 0.5
    assert cat[24:38, 64:78].all()  # the mask's own grain is four pixels
    assert not cat[:16].any()
    assert not cat[:, :56].any()
    assert float(scores[2].max()) < 1e-6


FILLED_UP = {"do_split_image": False, "do_pad": True, "size": {"shortest_edge": 64}}
FILLED_UP["size"]["longest_edge"] = 64


def eomt_folder(folder, source, **settings):
    """The model in ``source`` with other settings of its processor."""
    shutil.copytree(source, folder)
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return folder


@pytest.mark.parametrize("size", [(64, 64), (40, 90), (130, 50)])
@pytest.mark.parametrize("kind", EOMT)
def test_eomt_gives_the_processors_own_scores(kind, size, tiny):
    transformers = pytest.importorskip("transformers")
    classes = ClassList.of({"background": [], "cat": [], "dog": []})
    annotator = load_transformers(tiny(kind), classes=classes)
    (photo,) = photos(size)
    (scores,) = annotator.annotate([photo])
    model = transformers.AutoModelForUniversalSegmentation.from_pretrained(tiny(kind)).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(tiny(kind))
    prepared = processor(images=[photo], return_tensors="pt")
    assert len(prepared["pixel_values"]) == {64: 1, 40: 3, 130: 3}[size[0]]
    with torch.no_grad():
        outputs = model(**prepared)
    try:
        (own,) = processor.post_process_semantic_segmentation(
            outputs, target_sizes=[size], return_segmentation_scores=True
        )
    except TypeError:
        pytest.skip(f"transformers {transformers.__version__} gives no scores")
    expected = own["segmentation_scores"][[1, 2]].clamp(0, 1)
    torch.testing.assert_close(scores[1:], expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("settings", [{}, FILLED_UP], ids=["cut", "filled up"])
@pytest.mark.parametrize("size", [(64, 64), (40, 90), (130, 50), (300, 40)])
def test_eomt_scores_lie_where_the_photo_does(settings, size, tiny, tmp_path, monkeypatch):
    """One query is the bright part of what the model sees, and is a cat."""
    folder = eomt_folder(tmp_path / "eomt", tiny("eomt"), **settings)
    classes = ClassList.of({"background": [], "cat": [], "dog": []})
    annotator = load_transformers(folder, classes=classes)

    def seen(pixel_values, **more):
        masks = torch.where(pixel_values[:, :1, ::2, ::2] > 1, 20.0, -20.0)
        logits = torch.tensor([[[0.0, 30.0, 0.0, 0.0, 0.0, 0.0]]]).expand(len(masks), -1, -1)
        return SimpleNamespace(class_queries_logits=logits, masks_queries_logits=masks)

    monkeypatch.setattr(annotator._scores.__self__._run.model, "forward", seen)
    photo = np.zeros((*size, 3), np.uint8)
    down, right = size[0] // 2, size[1] // 2
    photo[down:, right:] = 255
    cat = annotator.annotate([photo])[0][1].numpy() > 0.5
    rim = 3 * max(size) // 64 + 1  # the grain of what the model sees, and of its masks
    assert cat[down + rim :, right + rim :].all()
    assert not cat[: down - rim].any()
    assert not cat[:, : right - rim].any()


SAM3 = ("sam3", "sam3_video", "sam3_lite_text")


def sam3_for_photos(kind, folder):
    """The model in the folder, loaded by its own class."""
    import transformers

    if kind == "sam3_video":
        return transformers.Sam3VideoModel.from_pretrained(folder).detector_model
    name = {"sam3": "Sam3Model", "sam3_lite_text": "Sam3LiteTextModel"}[kind]
    return getattr(transformers, name).from_pretrained(folder)


@pytest.mark.parametrize("kind", SAM3)
def test_sam3_from_its_folder_takes_the_surest_instance(kind, tiny, sam3_processor):
    folder = tiny(kind)
    assert json.loads((folder / "config.json").read_text())["model_type"] == kind
    classes = ClassList.of({"background": [], "cat": ["cat", "kitten"], "dog": []})
    annotator = load_transformers(folder, classes=classes)
    two = photos((30, 50), (40, 20))
    maps = annotator.annotate(two)
    assert [tuple(m.shape) for m in maps] == [(3, 30, 50), (3, 40, 20)]
    model, processor = sam3_for_photos(kind, folder), sam3_processor.from_pretrained(folder)
    expected = []
    with torch.no_grad():
        for word in ("cat", "kitten", "dog"):
            tokens = processor.tokenizer(
                [word], padding="max_length", max_length=32, return_tensors="pt"
            )
            out = model(
                pixel_values=processor(images=[two[0]], return_tensors="pt")["pixel_values"],
                input_ids=tokens["input_ids"],
                attention_mask=tokens["attention_mask"],
            )
            sure = (out.pred_logits.sigmoid() * out.presence_logits.sigmoid())[0]
            masks = torch.nn.functional.interpolate(
                out.pred_masks.sigmoid(), (30, 50), mode="bilinear"
            )[0]
            expected.append((sure[:, None, None] * masks).amax(0))
    cat = torch.maximum(expected[0], expected[1])
    torch.testing.assert_close(maps[0][1:], torch.stack([cat, expected[2]]), atol=1e-5, rtol=1e-4)
    assert not torch.equal(cat, expected[2])


@pytest.mark.parametrize("kind", SAM3)
def test_sam3_reads_each_word_once(kind, tiny, sam3_processor):
    """Not once for every photo: its text encoder is large."""
    annotator = load_transformers(tiny(kind), classes=CLASSES)
    model, read = annotator._scores.__self__._run.model, []
    model.text_encoder.register_forward_hook(lambda *_: read.append(1))
    annotator.annotate(photos((30, 50), (40, 20)))
    assert not read


@pytest.mark.parametrize("kind", SAM3)
def test_sam3_is_loaded_whole(kind, tiny, sam3_processor):
    """Tensors that are not found in a folder are made up by transformers, with a warning alone."""
    annotator = load_transformers(tiny(kind), classes=CLASSES)
    expected = sam3_for_photos(kind, tiny(kind)).state_dict()
    loaded = annotator._scores.__self__._run.model.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in loaded)


def test_one_look_at_the_photo_serves_every_prompt(tiny):
    """The same as handing CLIPSeg the photo once a prompt, as it wants it."""
    kind = load_transformers(tiny("clipseg"), classes=CLASSES)._scores.__self__
    looks = []
    kind._run.model.clip.vision_model.register_forward_hook(lambda *_: looks.append(1))
    (photo,) = photos((30, 50))
    (found,) = kind._of_prompts([photo])
    assert len(looks) == 1
    pixels = kind._run.prepared(photo)["pixel_values"].expand(len(found), -1, -1, -1)
    every = kind._run(pixel_values=pixels, **kind._tokens).logits.sigmoid()
    every = torch.nn.functional.interpolate(every[None], (30, 50), mode="bilinear")[0]
    torch.testing.assert_close(found, every, atol=1e-5, rtol=1e-4)


def test_text_prompts_decide(tiny):
    one = load_transformers(tiny("clipseg"), classes=CLASSES)
    other = load_transformers(
        tiny("clipseg"),
        classes=ClassList.of({**dict(zip(CLASSES.class_names, CLASSES.prompts)), "cat": ["lynx"]}),
    )
    photo = photos((30, 50))
    assert not torch.equal(one.annotate(photo)[0][1], other.annotate(photo)[0][1])
    assert torch.equal(one.annotate(photo)[0][3], other.annotate(photo)[0][3])
    assert one.fingerprint["prompts"]["diningtable"] == ["dining table"]
    assert one.fingerprint != other.fingerprint
    with pytest.raises(OptionError, match="asked in words and has no classes of its own"):
        load_transformers(tiny("clipseg"), classes=CLASSES, synonyms={"cat": ["cat"]})


def test_the_words_of_a_class_are_joined_by_the_largest(tiny):
    """The scores of each word asked for alone, pixel by pixel."""
    photo = photos((30, 50))
    ensemble = ClassList.of({"cat": ["cat", "kitten", "a photo of a cat"], "dog": ["dog"]})
    annotator = load_transformers(tiny("clipseg"), classes=ensemble, background="none")
    assert annotator.fingerprint["prompts"]["cat"] == ["cat", "kitten", "a photo of a cat"]
    alone = []
    for word in ensemble.prompts[0]:
        one = ClassList.of({"cat": [word], "dog": ["dog"]})
        single = load_transformers(tiny("clipseg"), classes=one, background="none")
        assert single.fingerprint != annotator.fingerprint
        alone.append(single.annotate(photo)[0][0])
    largest = torch.stack(alone).amax(0)
    assert all(not torch.equal(scores, largest) for scores in alone)
    torch.testing.assert_close(annotator.annotate(photo)[0][0], largest, atol=1e-6, rtol=1e-5)


def test_the_classes_of_the_model_that_words_name_are_added(tiny):
    photo = photos((30, 50))
    pets = ClassList.of({"pet": ["cat", "dog"], "rest": ["wall", "dining table", "person"]})
    each = ClassList.of({"cat": [], "dog": [], "wall": [], "dining table": [], "person": []})
    joined = load_transformers(tiny("segformer"), classes=pets, background="none")
    apart = load_transformers(tiny("segformer"), classes=each, background="none")
    assert joined.fingerprint["classes"]["pet"] == ["cat", "dog"]
    assert joined.fingerprint != apart.fingerprint
    (sums,), (scores,) = joined.annotate(photo), apart.annotate(photo)
    torch.testing.assert_close(sums, torch.stack([scores[:2].sum(0), scores[2:].sum(0)]))


def test_the_matching_is_told_and_recorded(tiny):
    annotator = load_transformers(tiny("segformer"), classes=CLASSES)
    assert "class diningtable is the model's dining table" in annotator.notes
    assert "2 classes of the model belong to no class here: wall, person" in annotator.notes
    assert annotator.fingerprint["classes"]["diningtable"] == ["dining table"]
    rest = load_transformers(
        tiny("segformer"), classes=CLASSES, background="prompt", synonyms={"background": ["*"]}
    )
    assert rest.fingerprint["classes"]["background"] == ["wall", "person"]
    (scores,) = rest.annotate(photos((30, 50)))
    torch.testing.assert_close(scores.sum(dim=0), torch.ones(30, 50))
    assert annotator.fingerprint["weights"] == rest.fingerprint["weights"]
    assert json.loads(json.dumps(rest.fingerprint)) == rest.fingerprint


def test_mixed_precision_stays_close(tiny):
    exact = load_transformers(tiny("segformer"), classes=CLASSES)
    mixed = load_transformers(tiny("segformer"), classes=CLASSES, amp="bfloat16")
    photo = photos((30, 50))
    torch.testing.assert_close(
        mixed.annotate(photo)[0], exact.annotate(photo)[0], atol=0.02, rtol=0.02
    )
    assert exact.fingerprint != mixed.fingerprint


@pytest.mark.parametrize(
    ("owner", "name", "words", "told"),
    [
        (torch, "autocast", "only bfloat16 on {}", "only bfloat16 on cpu"),
        (
            *(_mixed_precision, "layer_norm"),
            *("not implemented for {.dtype}", "not implemented for torch.float16"),
        ),
    ],
)
def test_a_mixed_precision_that_the_device_lacks_is_refused(
    tiny, monkeypatch, owner, name, words, told
):
    def lacking(of, more):
        raise RuntimeError(words.format(of))

    monkeypatch.setattr(owner, name, lacking)
    with pytest.raises(OptionError, match=rf"was to run in float16 on cpu.*\({told}\)"):
        load_transformers(tiny("segformer"), classes=CLASSES, amp="float16")


def test_a_compiled_model_gives_the_same_scores(tiny, monkeypatch):
    """Traced, and run without the machine's compiler, which takes minutes."""
    traced = functools.partial(torch.compile, backend="eager")
    try:
        traced(lambda values: values + 1)(torch.ones(2))
    except RuntimeError as error:
        pytest.skip(f"torch {torch.__version__} does not trace here: {error}")
    plain = load_transformers(tiny("segformer"), classes=CLASSES)
    monkeypatch.setattr(torch, "compile", traced)
    compiled = load_transformers(tiny("segformer"), classes=CLASSES, compile_model=True)
    for some in (photos((30, 50)), photos((30, 50), (50, 30), (20, 20)), photos((7, 9), (40, 40))):
        for scores, expected in zip(compiled.annotate(some), plain.annotate(some)):
            torch.testing.assert_close(scores, expected)
    assert compiled.fingerprint == {**plain.fingerprint, "compiled": True}
    torch._dynamo.reset()


def test_what_cannot_be_compiled_is_told_at_once(tiny, monkeypatch):
    def without_compiler(function):
        def call(values):
            raise RuntimeError("No working C++ compiler found\n\nmore lines")

        return call

    for kind in ("clipseg", "mask2former"):
        with pytest.raises(OptionError, match=r"cannot be compiled here; leave --compile out"):
            load_transformers(tiny(kind), classes=CLASSES, compile_model=True)
    monkeypatch.setattr(torch, "compile", without_compiler)
    told = r"to be compiled for cpu.*\(RuntimeError: No working C\+\+ compiler found\)"
    with pytest.raises(OptionError, match=told):
        load_transformers(tiny("segformer"), classes=CLASSES, compile_model=True)


@pytest.mark.parametrize("option", ["do_center_crop", "do_pad"])
@pytest.mark.parametrize("kind", ["dense", "clipseg"])
def test_a_processor_that_crops_is_refused(option, kind):
    images = SimpleNamespace(**{option: True})
    processor = images if kind == "dense" else SimpleNamespace(image_processor=images)
    with pytest.raises(OptionError, match=f"processor has {option}"):
        TransformersAnnotator(Padding(), processor, kind, classes=CLASSES)


def test_what_cannot_be_driven_is_told(tmp_path):
    transformers = pytest.importorskip("transformers")
    with pytest.raises(SourceFileError, match="cannot load the model"):
        load_transformers(tmp_path / "nothing", classes=CLASSES)
    config = transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    config.save_pretrained(tmp_path / "bert")
    with pytest.raises(OptionError, match="a model of type 'bert' is none that"):
        load_transformers(tmp_path / "bert", classes=CLASSES)


def test_a_gated_model_says_how_to_log_in(monkeypatch):
    transformers = pytest.importorskip("transformers")

    class GatedRepoError(OSError):
        """As the hub's client calls it."""

    def gated(name):
        raise OSError("You are trying to access a gated repo.") from GatedRepoError()

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", gated)
    with pytest.raises(SourceFileError, match=r"a gated repo.*log in with: hf auth login"):
        load_transformers("facebook/sam3", classes=CLASSES)


FOREIGN = """
import sys
from conformal_plugin.annotators import CLASS_LISTS, load_transformers
from conformal_plugin.errors import SourceFileError
try:
    load_transformers(sys.argv[1], classes=CLASS_LISTS["voc"])
except SourceFileError as error:
    print(error)
"""


def test_a_torchvision_of_another_torch_is_named_as_the_cause(tiny, tmp_path):
    """In a process of its own: transformers looks for torchvision once."""
    package, facts = tmp_path / "torchvision", tmp_path / "torchvision-0.1.2.dist-info"
    package.mkdir()
    facts.mkdir()
    nms = "operator torchvision::nms does not exist"
    (package / "__init__.py").write_text(f"raise RuntimeError({nms!r})\n")
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.1.2\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    told = subprocess.run(
        [sys.executable, "-c", FOREIGN, str(tiny("segformer"))],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert f"because torchvision 0.1.2 does not match torch {torch.__version__}" in told
    assert nms in told


def test_without_transformers_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"conformal-plugin\[transformers\]"):
        load_transformers(tmp_path, classes=CLASSES)


def test_from_photos_to_pseudo_labels_in_one_command(tiny, tmp_path, monkeypatch, capsys):
    """Calibrate on the maps of four photos; then one command labels the others, without maps."""
    from conformal_plugin.cli import main

    def run(*words):
        assert main([str(word) for word in words]) == 0, capsys.readouterr().err

    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number, photo in enumerate(photos(*[(30, 40)] * 8)):
        Image.fromarray(photo).save(f"photos/{number}.png")
        truth = np.zeros((30, 40), np.uint8)
        truth[:, 10 * (number % 4) :] = number % 3
        write_label(f"labels/{number}.png", truth)
    Path("labelled.txt").write_text("0\n1\n2\n3\n")
    Path("unlabelled.txt").write_text("4\n5\n6\n7\n")
    Path("classes.txt").write_text("background\ncat\ndog\n")
    model = ["--annotator", "transformers", "--model", tiny("mask2former")]
    model += ["--classes", "classes.txt", "--photos", "photos"]
    run("annotate", *model, "--ids", "labelled.txt", "--out", "maps")
    run(
        "calibrate", "--maps", "maps", "--labels", "labels", "--alpha", "0.6", "-o", "c.json",
    )  # fmt: skip
    run("annotate", *model, "--ids", "unlabelled.txt", "--out", "one", "--calibration", "c.json")
    assert sorted(path.stem for path in Path("one").glob("*.png")) == ["4", "5", "6", "7"]
    assert not list(Path("one").glob("*.cpmap"))
    assert MapStore.open("maps").annotator["architecture"].startswith("Mask2Former")
    # The same as maps first and labels second.
    run("annotate", *model, "--ids", "unlabelled.txt", "--out", "more")
    run("filter", "--maps", "more", "--calibration", "c.json", "--out", "two")
    for name in "4567":
        np.testing.assert_array_equal(read_label(f"one/{name}.png"), read_label(f"two/{name}.png"))
