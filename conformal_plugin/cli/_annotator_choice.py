"""From ``--annotator`` and its options to an annotator that is ready to work."""

from __future__ import annotations

import argparse
from typing import Any

import torch

from conformal_plugin.annotators import Annotator, ClassList, FunctionAnnotator, class_list
from conformal_plugin.cli._named_objects import named_object
from conformal_plugin.errors import OptionError
from conformal_plugin.processes import Rank

__all__ = ["chosen_annotator"]

_CHECKOUT = ("checkout", "config", "checkpoint")
_NEEDED = {
    "transformers": ("model",),
    "grounded-sam": ("model", "segmenter"),
    "seem": _CHECKOUT,
    "xdecoder": _CHECKOUT,
}
_SIDES = ("short_side", "long_side")
_POSSIBLE = {
    "transformers": ("synonyms", "compile"),
    "grounded-sam": ("box_threshold",),
    "seem": _SIDES,
    "xdecoder": _SIDES,
}
_OPTIONS = ("model", "synonyms", "compile", "segmenter", "box_threshold", *_CHECKOUT, *_SIDES)
_KINDS = f"{', '.join(_NEEDED)}, or MODULE:FUNCTION as in mymodel:scores"


def chosen_annotator(arguments: argparse.Namespace, rank: Rank) -> Annotator:
    """The annotator that the arguments name.

    Raises:
        OptionError: an unknown one, or options that it needs are missing or not for it.
        MissingExtraError: a package that it needs is not installed.
    """
    kind = arguments.annotator
    needed, possible = _NEEDED.get(kind, ()), _POSSIBLE.get(kind, ())
    for option in _OPTIONS:
        given = getattr(arguments, option) is not None
        if option in needed and not given:
            raise OptionError(
                f"--annotator {kind} needs --{' --'.join(needed)}; --{option} is missing"
            )
        if given and option not in (*needed, *possible):
            raise OptionError(
                f"--{option.replace('_', '-')} is not for --annotator {kind}; leave it out"
            )
    if kind == "transformers":
        from conformal_plugin.annotators import load_transformers, read_synonyms

        synonyms = None if arguments.synonyms is None else read_synonyms(arguments.synonyms)
        return load_transformers(
            arguments.model,
            synonyms=synonyms,
            compile_model=bool(arguments.compile),
            **_common(arguments, kind, rank),
        )
    if kind == "grounded-sam":
        from conformal_plugin.annotators import load_grounded_sam

        more = {} if arguments.box_threshold is None else {"box_threshold": arguments.box_threshold}
        return load_grounded_sam(
            arguments.model, arguments.segmenter, **more, **_common(arguments, kind, rank)
        )
    if kind in ("seem", "xdecoder"):
        from conformal_plugin.annotators import load_seem, load_xdecoder

        sides = {name: getattr(arguments, name) for name in _SIDES}
        load = load_seem if kind == "seem" else load_xdecoder
        return load(
            arguments.checkout,
            config=arguments.config,
            checkpoint=arguments.checkpoint,
            **{name: side for name, side in sides.items() if side is not None},
            **_common(arguments, kind, rank),
        )
    return _of_user(arguments)


def _common(arguments: argparse.Namespace, kind: str, rank: Rank) -> dict[str, Any]:
    classes = _classes(arguments, f"--annotator {kind}")
    device = arguments.device
    if device is None:
        device = f"cuda:{rank.local}" if torch.cuda.is_available() else "cpu"
    on_gpu = torch.device(device).type == "cuda"
    amp = arguments.amp or ("float16" if on_gpu else "off")
    return {
        "classes": classes,
        "background": _background(arguments, classes),
        "device": device,
        "amp": None if amp == "off" else amp,
    }


def _classes(arguments: argparse.Namespace, who: str) -> ClassList:
    if arguments.classes is None:
        raise OptionError(
            f"{who} needs --classes: voc, voc-stuff, ade20k, cityscapes, coco, or a file with one "
            f"class a line"
        )
    return class_list(arguments.classes)


def _background(arguments: argparse.Namespace, classes: ClassList) -> str:
    if arguments.background_rule is not None:
        return str(arguments.background_rule)
    return "complement" if classes.has_background else "none"


def _of_user(arguments: argparse.Namespace) -> Annotator:
    module, _, name = arguments.annotator.partition(":")
    if not module or not name:
        raise OptionError(f"--annotator must be {_KINDS}, got {arguments.annotator!r}")
    chosen = named_object(arguments.annotator, "--annotator")
    if isinstance(chosen, Annotator):
        for option in ("classes", "background_rule"):
            if getattr(arguments, option) is not None:
                raise OptionError(
                    f"{arguments.annotator} has classes and a background rule of its own; leave "
                    f"--{option.replace('_', '-')} out"
                )
        return chosen
    if not callable(chosen):
        raise OptionError(
            f"--annotator {arguments.annotator}: {module} has no function {name!r} that takes a "
            f"photo (H, W, 3) and returns class scores (K, H, W)"
        )
    classes = _classes(arguments, f"the function {arguments.annotator}")
    rule = _background(arguments, classes)
    classes.asked(rule)
    return FunctionAnnotator(chosen, classes.class_names, background=rule)
