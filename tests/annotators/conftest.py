"""Tiny models of transformers with random weights, built from configurations and saved to disk."""

from __future__ import annotations

import importlib
import json
import string
from pathlib import Path

import numpy as np
import pytest
import torch

LABELS = ("wall", "cat", "dog", "dining table", "person")


def saved(folder, model, processor):
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def tokenizer(folder):
    """A CLIP tokenizer that knows letters."""
    import transformers

    letters = string.ascii_lowercase
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {word: index for index, word in enumerate(words)}
    vocabulary |= {"<|startoftext|>": 298, "<|endoftext|>": 299}
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.CLIPTokenizer.from_pretrained(str(folder))


def labelled():
    return {"id2label": dict(enumerate(LABELS)), "label2id": {n: i for i, n in enumerate(LABELS)}}


def swin():
    import transformers

    return transformers.SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip


QUERIES = {"num_queries": 5, "num_attention_heads": 2, "encoder_layers": 1, "decoder_layers": 2}
SMALL = {"encoder_feedforward_dim": 16, "dim_feedforward": 16, "hidden_dim": 32}
SIDES = {"shortest_edge": 40, "longest_edge": 64}
TEXT = {
    "vocab_size": 300, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 2, "bos_token_id": 298, "eos_token_id": 299, "pad_token_id": 299,
}  # fmt: skip
VIT = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "image_size": 64}


def mask2former(folder):
    import transformers as t

    config = t.Mask2FormerConfig(
        backbone_config=swin(), feature_size=32, mask_feature_size=32, **QUERIES, **SMALL,
        **labelled(),
    )  # fmt: skip
    model = t.Mask2FormerForUniversalSegmentation(config)
    return saved(folder, model, t.Mask2FormerImageProcessor(size=SIDES))


def maskformer(folder):
    import transformers as t

    decoder = t.DetrConfig(
        d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=16, decoder_ffn_dim=16,
        encoder_attention_heads=2, decoder_attention_heads=2, num_queries=5,
    )  # fmt: skip
    config = t.MaskFormerConfig(
        backbone_config=swin(), decoder_config=decoder, mask_feature_size=32, fpn_feature_size=32,
        **labelled(),
    )  # fmt: skip
    model = t.MaskFormerForInstanceSegmentation(config)
    return saved(folder, model, t.MaskFormerImageProcessor(size=SIDES))


def oneformer(folder):
    import transformers as t

    config = t.OneFormerConfig(
        backbone_config=swin(), conv_dim=32, mask_dim=32, text_encoder_width=16,
        text_encoder_num_layers=1, text_encoder_proj_layers=1, text_encoder_vocab_size=300,
        text_encoder_context_length=16, task_seq_len=16, is_training=False, **QUERIES, **SMALL,
        **labelled(),
    )  # fmt: skip
    words = tokenizer(folder.with_name("oneformer-words"))
    classes = {str(i): {"name": name, "isthing": 1} for i, name in enumerate(LABELS)}
    folder.mkdir()
    (folder / "classes.json").write_text(json.dumps(classes))
    images = t.OneFormerImageProcessor(
        size=SIDES, repo_path=str(folder), class_info_file="classes.json", num_text=2
    )
    processor = t.OneFormerProcessor(
        image_processor=images, tokenizer=words, max_seq_length=16, task_seq_length=16
    )
    return saved(folder, t.OneFormerForUniversalSegmentation(config), processor)


def dense(folder, model):
    import transformers as t

    return saved(folder, model, t.SegformerImageProcessor(size={"height": 64, "width": 64}))


def segformer(folder):
    import transformers as t

    config = t.SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 8, 8], num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8, **labelled(),
    )  # fmt: skip
    return dense(folder, t.SegformerForSemanticSegmentation(config))


def upernet(folder):
    import transformers as t

    backbone = t.ConvNextConfig(
        hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1],
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = t.UperNetConfig(
        backbone_config=backbone, hidden_size=8, auxiliary_in_channels=8, pool_scales=[1, 2],
        **labelled(),
    )  # fmt: skip
    return dense(folder, t.UperNetForSemanticSegmentation(config))


def beit(folder):
    import transformers as t

    config = t.BeitConfig(
        patch_size=16, num_hidden_layers=4, out_indices=[1, 2, 3, 4], use_auxiliary_head=False,
        **VIT, **labelled(),
    )  # fmt: skip
    return dense(folder, t.BeitForSemanticSegmentation(config))


def data2vec(folder):
    import transformers as t

    config = t.Data2VecVisionConfig(
        patch_size=16, num_hidden_layers=4, out_indices=[1, 2, 3, 4], use_auxiliary_head=False,
        **VIT, **labelled(),
    )  # fmt: skip
    return dense(folder, t.Data2VecVisionForSemanticSegmentation(config))


LOUD = {"initializer_range": 0.3}  # so that a photo is still heard after many small layers


def mobilevit(folder):
    import transformers as t

    config = t.MobileViTConfig(
        hidden_sizes=[8, 8, 8], neck_hidden_sizes=[8] * 7, aspp_out_channels=8,
        num_attention_heads=2, **LOUD, **labelled(),
    )  # fmt: skip
    return dense(folder, t.MobileViTForSemanticSegmentation(config))


def mobilevitv2(folder):
    import transformers as t

    config = t.MobileViTV2Config(width_multiplier=0.25, aspp_out_channels=8, **LOUD, **labelled())
    return dense(folder, t.MobileViTV2ForSemanticSegmentation(config))


def mobilenet_v2(folder):
    import transformers as t

    config = t.MobileNetV2Config(depth_multiplier=0.1, **LOUD, **labelled())
    return dense(folder, t.MobileNetV2ForSemanticSegmentation(config))


def dpt(folder):
    import transformers as t

    config = t.DPTConfig(
        patch_size=16, num_hidden_layers=4, backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, use_auxiliary_head=False,
        **VIT, **labelled(),
    )  # fmt: skip
    return dense(folder, t.DPTForSemanticSegmentation(config))


def clipseg(folder):
    import transformers as t

    config = t.CLIPSegConfig(
        text_config={**TEXT, "max_position_embeddings": 77},
        vision_config={**VIT, "patch_size": 16, "num_hidden_layers": 4},
        projection_dim=16, extract_layers=[1, 2, 3], reduce_dim=8, decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )  # fmt: skip
    words = tokenizer(folder.with_name("clipseg-words"))
    images = t.ViTImageProcessor(size={"height": 64, "width": 64})
    processor = t.CLIPSegProcessor(image_processor=images, tokenizer=words)
    return saved(folder, t.CLIPSegForImageSegmentation(config), processor)


def eomt(folder):
    import transformers as t

    config = t.EomtConfig(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, image_size=64, patch_size=8,
        num_blocks=1, num_queries=5, mlp_ratio=2, **labelled(),
    )  # fmt: skip
    return cut(folder, t.EomtForUniversalSegmentation(config))


def eomt_dinov3(folder):
    import transformers as t

    config = t.EomtDinov3Config(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, image_size=64, patch_size=8,
        num_blocks=1, num_queries=5, intermediate_size=16, **labelled(),
    )  # fmt: skip
    return cut(folder, t.EomtDinov3ForUniversalSegmentation(config))


def cut(folder, model):
    """With the settings that EoMT's semantic models are published with: photos cut to squares."""
    settings = {
        "image_processor_type": "EomtImageProcessor", "do_resize": True, "do_rescale": True,
        "do_normalize": True, "do_split_image": True, "do_pad": False, "resample": 2,
        "size": {"shortest_edge": 64, "longest_edge": None},
        "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
    }  # fmt: skip
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


def sam3_config(text=None, kind="Sam3Config"):
    import transformers as t

    layer = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "num_layers": 1}
    backbone = {
        "model_type": "sam3_vit_model", **VIT, "image_size": 56, "num_hidden_layers": 2,
        "patch_size": 14, "window_size": 2, "global_attn_indexes": [1], "pretrain_image_size": 56,
    }  # fmt: skip
    return getattr(t, kind)(
        vision_config={
            "model_type": "sam3_vision_model", "backbone_config": backbone, "fpn_hidden_size": 16,
            "num_feature_levels": 3, "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        },
        text_config=text or {**TEXT, "projection_dim": 16, "max_position_embeddings": 32},
        geometry_encoder_config=layer,
        detr_encoder_config=layer,
        detr_decoder_config={**layer, "num_queries": 4},
        mask_decoder_config={
            "hidden_size": 16, "num_attention_heads": 2, "num_upsampling_stages": 3,
        },
    )  # fmt: skip


def sam3(folder):
    import transformers as t

    return saved_sam3(folder, t.Sam3Model(sam3_config()))


def sam3_lite_text(folder):
    import transformers as t

    text = {name: TEXT[name] for name in ("vocab_size", "hidden_size", "intermediate_size")}
    text |= {"num_hidden_layers": 3, "num_attention_heads": 2, "projection_dim": 16}
    return saved_sam3(folder, t.Sam3LiteTextModel(sam3_config(text, "Sam3LiteTextConfig")))


def sam3_video(folder):
    """The detector for photos beside a tracker, as SAM 3 is published."""
    import transformers as t

    detector, narrow = sam3_config(), {"hidden_size": 16, "num_attention_heads": 2}
    tracker = t.Sam3TrackerVideoConfig(
        vision_config=detector.vision_config.to_dict(),
        prompt_encoder_config={"hidden_size": 16, "image_size": 56, "patch_size": 14},
        mask_decoder_config={
            **narrow, "mlp_dim": 16, "num_hidden_layers": 1, "iou_head_hidden_dim": 16,
            "iou_head_depth": 2,
        },
        memory_attention_hidden_size=16, memory_attention_num_layers=1,
        memory_attention_num_attention_heads=1, memory_attention_feed_forward_hidden_size=16,
        memory_attention_rope_feat_sizes=[4, 4], memory_encoder_hidden_size=16,
        memory_encoder_output_channels=16, mask_downsampler_embed_dim=16,
        memory_fuser_embed_dim=16, memory_fuser_intermediate_dim=16, memory_fuser_num_layers=1,
        image_size=56,
    )  # fmt: skip
    config = t.Sam3VideoConfig(detector_config=detector.to_dict(), tracker_config=tracker.to_dict())
    return saved_sam3(folder, t.Sam3VideoModel(config), "Sam3VideoProcessor")


def saved_sam3(folder, model, processor="Sam3Processor"):
    """Model, words and the processor's settings; to make a processor takes torchvision."""
    model.save_pretrained(folder)
    tokenizer(folder.with_name(f"{folder.name}-words")).save_pretrained(folder)
    usual = {
        "do_resize": True, "do_rescale": True, "do_normalize": True, "do_convert_rgb": True,
        "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2, "rescale_factor": 1 / 255,
        "size": {"height": 56, "width": 56},
    }  # fmt: skip
    settings = {
        "processor_class": processor,
        "target_size": 56,
        "image_processor": {"image_processor_type": "Sam3ImageProcessor", **usual},
    }
    if processor == "Sam3VideoProcessor":
        kind = {"video_processor_type": "Sam2VideoVideoProcessor"}
        settings["video_processor"] = {**kind, **usual}
    (folder / "processor_config.json").write_text(json.dumps(settings))
    return folder


MAKERS = {
    maker.__name__: maker
    for maker in (
        mask2former, maskformer, oneformer, segformer, upernet, beit, data2vec, mobilevit,
        mobilevitv2, mobilenet_v2, dpt, clipseg, eomt, eomt_dinov3, sam3, sam3_video,
        sam3_lite_text,
    )
}  # fmt: skip


NEEDS = {
    "eomt": "EomtConfig", "eomt_dinov3": "EomtDinov3Config",
    "sam3": "Sam3Model", "sam3_video": "Sam3VideoModel", "sam3_lite_text": "Sam3LiteTextModel",
}  # fmt: skip


class Sam3Pixels:
    """Stands in for SAM 3's processor where torchvision is missing: reads the same folder."""

    def __init__(self, words, size):
        self.tokenizer = words
        self.size = (size["height"], size["width"])

    @classmethod
    def from_pretrained(cls, folder):
        import transformers

        settings = json.loads((Path(folder) / "processor_config.json").read_text())
        words = transformers.CLIPTokenizer.from_pretrained(folder)
        return cls(words, settings["image_processor"]["size"])

    def __call__(self, images, return_tensors):
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 127.5 - 1
        return {"pixel_values": torch.nn.functional.interpolate(pixels, size=self.size)}


@pytest.fixture
def sam3_processor(monkeypatch):
    """SAM 3's processor, or what stands in for it, which then is what transformers offers."""
    # Loading this puts another module in the place of transformers, once.
    pytest.importorskip("transformers.processing_utils")
    transformers = pytest.importorskip("transformers")
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):
        monkeypatch.setattr(transformers, "Sam3Processor", Sam3Pixels, raising=False)
    return transformers.Sam3Processor


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Gives the folder of a tiny model by its kind, made when it is first asked for."""
    transformers = pytest.importorskip("transformers")
    made = {}

    def folder(kind):
        if kind in NEEDS and not hasattr(transformers, NEEDS[kind]):
            pytest.skip(f"transformers {transformers.__version__} has no {NEEDS[kind]}")
        if kind not in made:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                made[kind] = MAKERS[kind](tmp_path_factory.mktemp("models") / kind)
        return made[kind]

    return folder
