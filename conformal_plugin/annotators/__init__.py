"""Annotators: from photos to class scores. Each driver is imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformal_plugin.annotators.background import BACKGROUND_RULES, with_background
    from conformal_plugin.annotators.class_lists import CLASS_LISTS, ClassList, class_list
    from conformal_plugin.annotators.function import FunctionAnnotator
    from conformal_plugin.annotators.huggingface import load_transformers
    from conformal_plugin.annotators.protocol import Annotator
    from conformal_plugin.annotators.seem import SeemAnnotator, load_seem
    from conformal_plugin.annotators.weights import file_digest, weights_digest

_MODULE_OF = {
    "BACKGROUND_RULES": "background",
    "CLASS_LISTS": "class_lists",
    "Annotator": "protocol",
    "ClassList": "class_lists",
    "FunctionAnnotator": "function",
    "SeemAnnotator": "seem",
    "class_list": "class_lists",
    "file_digest": "weights",
    "load_seem": "seem",
    "load_transformers": "huggingface",
    "weights_digest": "weights",
    "with_background": "background",
}

__all__ = [
    "BACKGROUND_RULES",
    "CLASS_LISTS",
    "Annotator",
    "ClassList",
    "FunctionAnnotator",
    "SeemAnnotator",
    "class_list",
    "file_digest",
    "load_seem",
    "load_transformers",
    "weights_digest",
    "with_background",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'conformal_plugin.annotators' has no attribute {name!r}")
    module = importlib.import_module(f"conformal_plugin.annotators.{_MODULE_OF[name]}")
    return getattr(module, name)
