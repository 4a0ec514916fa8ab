"""Tiny models of transformers with random weights, built from configurations and saved to disk."""

from __future__ import annotations

import json
import string

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


def sapiens2(folder):
    import transformers as t

    config = t.Sapiens2Config(
        patch_size=16, num_hidden_layers=2, num_key_value_attention_heads=1,
        head_config={"upsample_out_channels": [8], "conv_out_channels": [8]}, **VIT, **labelled(),
    )  # fmt: skip
    return dense(folder, t.Sapiens2ForSemanticSegmentation(config))


def tipsv2_dpt(folder):
    import transformers as t

    backbone = t.Tipsv2VisionConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=64, patch_size=16,
        out_indices=[1, 2, 3, 4], reshape_hidden_states=False,
    )  # fmt: skip
    config = t.Tipsv2DptConfig(
        backbone_config=backbone, neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8,
        **labelled(),
    )  # fmt: skip
    return dense(folder, t.Tipsv2DptForSemanticSegmentation(config))


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


def loud(model, *parts):
    """Make weights larger, so that masks are not one half everywhere."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and name.removeprefix("detector_model.").startswith(parts):
                weight *= 30


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
    loud(model, "mask_decoder")
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


def bert_words(folder):
    """A BERT tokenizer that knows letters, with the ids that Grounding DINO looks for."""
    import transformers

    words = [f"[unused{i}]" for i in range(1030)]
    words[0], words[100:104] = "[PAD]", ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words[1012], words[1029] = ".", "?"
    words += [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase)]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return transformers.BertTokenizer.from_pretrained(str(folder))


def grounding(kind):
    """Settings of a small Grounding DINO."""
    import transformers as t

    text = t.BertConfig(
        vocab_size=1100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=64,
    )  # fmt: skip
    backbone = swin()
    backbone.out_features = ["stage2", "stage3", "stage4"]
    return getattr(t, kind)(
        backbone_config=backbone, text_config=text, num_queries=6, d_model=64, encoder_layers=1,
        encoder_ffn_dim=16, encoder_attention_heads=2, decoder_layers=2, decoder_ffn_dim=16,
        decoder_attention_heads=2, max_text_len=32, init_std=0.3,
    )  # fmt: skip


def grounding_folder(folder, model):
    import transformers as t

    words = bert_words(folder.with_name(f"{folder.name}-words"))
    # So that boxes have sizes and places, and shares are neither all 0 nor all 1.
    for layer in model.model.encoder.layers:
        torch.nn.init.constant_(layer.text_enhancer_layer.layer_norm_after.weight, 0.3)
    for layer in model.class_embed:
        if hasattr(layer, "bias"):
            torch.nn.init.zeros_(layer.bias)
    for head in model.bbox_embed:
        torch.nn.init.normal_(head.layers[-1].weight, std=0.02)
    images = t.GroundingDinoImageProcessor(size=SIDES)
    processor = t.GroundingDinoProcessor(image_processor=images, tokenizer=words)
    return saved(folder, model, processor)


def grounding_dino(folder):
    import transformers as t

    config = grounding("GroundingDinoConfig")
    return grounding_folder(folder, t.GroundingDinoForObjectDetection(config))


def mm_grounding_dino(folder):
    import transformers as t

    config = grounding("MMGroundingDinoConfig")
    return grounding_folder(folder, t.MMGroundingDinoForObjectDetection(config))


def sam2_parts():
    """Settings that SAM 2 for photos and SAM 2 for videos have alike."""
    narrow = {"hidden_size": 16, "num_attention_heads": 2}
    backbone = {
        "model_type": "sam2_hiera_det_model", "hidden_size": 8, "image_size": [64, 64],
        "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [8, 16, 24, 32],
        "num_attention_heads_per_stage": [1, 1, 1, 1], "window_size_per_stage": [4, 4, 4, 4],
        "global_attention_blocks": [3], "window_positional_embedding_background_size": [4, 4],
    }  # fmt: skip
    return {
        "vision_config": {
            "model_type": "sam2_vision_model", "backbone_config": backbone, "fpn_hidden_size": 16,
            "backbone_channel_list": [32, 24, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        },
        "prompt_encoder_config": {"hidden_size": 16, "image_size": 64, "patch_size": 16},
        "mask_decoder_config": {
            **narrow, "mlp_dim": 16, "num_hidden_layers": 1, "iou_head_hidden_dim": 16,
            "iou_head_depth": 2,
        },
    }  # fmt: skip


def sam2(folder):
    import transformers as t

    return saved_sam2(folder, t.Sam2Model(t.Sam2Config(**sam2_parts())), "Sam2Processor")


def sam2_video(folder):
    """The model for photos beside a memory, as SAM 2.1 is published."""
    import transformers as t

    config = t.Sam2VideoConfig(
        **sam2_parts(), memory_attention_hidden_size=16, memory_attention_num_layers=1,
        memory_attention_num_attention_heads=1, memory_attention_feed_forward_hidden_size=16,
        memory_attention_rope_feat_sizes=[4, 4], memory_encoder_hidden_size=16,
        memory_encoder_output_channels=16, mask_downsampler_embed_dim=16,
        memory_fuser_embed_dim=16, memory_fuser_intermediate_dim=16, memory_fuser_num_layers=1,
        image_size=64,
    )  # fmt: skip
    return saved_sam2(folder, t.Sam2VideoModel(config), "Sam2VideoProcessor")


def saved_sam2(folder, model, processor):
    """Model and the processor's settings; to make a processor takes torchvision."""
    loud(model, "mask_decoder", "vision_encoder.neck")
    model.save_pretrained(folder)
    images = {
        "image_processor_type": "Sam2ImageProcessor", "do_resize": True, "do_rescale": True,
        "do_normalize": True, "do_convert_rgb": True, "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3, "resample": 2, "rescale_factor": 1 / 255,
        "size": {"height": 64, "width": 64}, "mask_size": {"height": 16, "width": 16},
    }  # fmt: skip
    settings = {"processor_class": processor, "target_size": 64, "point_pad_value": -10}
    settings["image_processor"] = images
    (folder / "processor_config.json").write_text(json.dumps(settings))
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    return folder


MAKERS = {
    maker.__name__: maker
    for maker in (
        mask2former, maskformer, oneformer, segformer, upernet, beit, data2vec, mobilevit,
        mobilevitv2, mobilenet_v2, dpt, sapiens2, tipsv2_dpt, clipseg, eomt, eomt_dinov3, sam3,
        sam3_video, sam3_lite_text, grounding_dino, mm_grounding_dino, sam2, sam2_video,
    )
}  # fmt: skip


NEEDS = {
    "sapiens2": "Sapiens2Config", "tipsv2_dpt": "Tipsv2DptConfig",
    "eomt": "EomtConfig", "eomt_dinov3": "EomtDinov3Config",
    "sam3": "Sam3Model", "sam3_video": "Sam3VideoModel", "sam3_lite_text": "Sam3LiteTextModel",
    "mm_grounding_dino": "MMGroundingDinoConfig",
    "sam2": "Sam2Model", "sam2_video": "Sam2VideoModel",
}  # fmt: skip
