"""Stands in for SEEM's model: its call contract and its arithmetic, with weights of no meaning.

As in SEEM: text embeddings set on the language encoder with "no object" last, from tokens that are
sent to CUDA; a kernel made on the current CUDA device; a backbone that reads a file of its own if
told to, and an encoder that imports a compiled operator; images of 0-255 in a list of dicts, filled
up to a multiple of 32, or to the one size that a SAM-ViT backbone takes; queries with class logits
and masks. The masks are brought to ``height`` and ``width`` by bicubic interpolation first; the
semantic result is the sum over queries of softmax without its last column times sigmoid.
"""

import torch
from torch import nn
from torch.nn.functional import interpolate


class LanguageEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.logit_scale = nn.Parameter(torch.ones([]))

    def get_text_embeddings(self, class_names, name="default", is_eval=False):
        assert is_eval, "training samples one of many sentences at random"
        assert class_names[-1] == "background", "the last text is that of no object"
        tokens = [torch.tensor([ord(letter) for letter in text]).cuda() for text in class_names]
        embeddings = [
            torch.randn(8, generator=torch.Generator().manual_seed(int(text.sum()))).to(text.device)
            for text in tokens
        ]
        self.default_text_embeddings = nn.functional.normalize(torch.stack(embeddings), dim=-1)
        self.asked = list(class_names)


class Predictor(nn.Module):
    def __init__(self):
        super().__init__()
        self.lang_encoder = LanguageEncoder()


class Head(nn.Module):
    def __init__(self, queries):
        super().__init__()
        self.num_classes = 133
        self.predictor = Predictor()
        self.queries = nn.Parameter(torch.randn(queries, 8))
        self.masks = nn.Conv2d(3, queries, 1)


class Seem(nn.Module):
    upsampling = "bilinear"

    def __init__(self, options):
        super().__init__()
        torch.manual_seed(0)
        backbone = options["MODEL"]["BACKBONE"]
        if backbone["LOAD_PRETRAINED"] is True:
            torch.load(backbone["PRETRAINED"], weights_only=True)
        if options["MODEL"]["ENCODER"]["NAME"] == "transformer_encoder_deform":
            import MultiScaleDeformableAttention  # noqa: F401
        self.sem_seg_head = Head(options["MODEL"]["QUERIES"])
        self.size_divisibility = options["MODEL"]["DECODER"]["SIZE_DIVISIBILITY"]
        self.register_buffer("pixel_mean", torch.full((3, 1, 1), 120.0), False)
        self.dilation = torch.ones((1, 1, 3, 3), device=torch.cuda.current_device())
        self.metadata = None
        self.semantic_on = self.panoptic_on = self.instance_on = True
        self.calls = []
        self.asked_sizes = []

    def forward(self, batched_inputs, mode="default"):
        assert not self.training
        self.calls.append([tuple(x["image"].shape) for x in batched_inputs])
        self.asked_sizes.append([(x["height"], x["width"]) for x in batched_inputs])
        images = [(x["image"] - self.pixel_mean) / 60 for x in batched_inputs]
        divisor = self.size_divisibility
        height = max(-(-image.shape[1] // divisor) * divisor for image in images)
        width = max(-(-image.shape[2] // divisor) * divisor for image in images)
        if divisor == 1024 and (height, width) != (1024, 1024):
            raise RuntimeError("The size of tensor a (128) must match the size of tensor b (64)")
        results = []
        for image, given in zip(images, batched_inputs):
            filled = image.new_zeros(3, height, width)
            filled[:, : image.shape[1], : image.shape[2]] = image
            coarse = self.sem_seg_head.masks(filled[None, :, ::4, ::4])
            smooth = self.upsampling == "bicubic"
            masks = interpolate(
                coarse, size=(height, width), mode=self.upsampling, antialias=smooth
            )[0]
            language = self.sem_seg_head.predictor.lang_encoder
            logits = 4 * self.sem_seg_head.queries @ language.default_text_embeddings.T
            size = (given["height"], given["width"])
            results.append({"sem_seg": self.semantic(logits, masks, image.shape[1:], size)})
        return results

    def semantic(self, logits, masks, shown, size):
        classes = logits.softmax(dim=-1)[..., :-1]
        assert classes.shape[1] == self.sem_seg_head.num_classes
        assert len(self.metadata.stuff_classes) == self.sem_seg_head.num_classes
        assert not self.panoptic_on
        assert not self.instance_on
        masks = masks[None, :, : shown[0], : shown[1]]
        masks = interpolate(masks, size=size, mode="bicubic", align_corners=False, antialias=True)
        return torch.einsum("qc,qhw->chw", classes.to(masks), masks[0].sigmoid())


class XDecoder(Seem):
    upsampling = "bicubic"


def build_model(options):
    assert {"device", "rank", "world_size", "CUDA"} <= options.keys()
    models = {"seem_model_demo": Seem, "seem_model_v1": Seem, "xdecoder_model": XDecoder}
    return models[options["MODEL"]["NAME"]](options)
