"""A class list by its name, or from a file that a user wrote or edited."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from conformal_plugin._json import parsed
from conformal_plugin._messages import one_line, shortened
from conformal_plugin.annotators._class_list import ClassList
from conformal_plugin.annotators._class_lists import CLASS_LISTS
from conformal_plugin.errors import OptionError, SourceFileError

__all__ = ["class_list"]


def class_list(name: str | os.PathLike[str]) -> ClassList:
    """One of ``CLASS_LISTS`` by its name, or the class list in a file.

    Args:
        name: ``"voc"``, ``"voc-stuff"``, ``"ade20k"``, ``"cityscapes"``, ``"coco"``; a text file
            with one class a line; or a JSON file, ``{"background": [], "dog": ["dog", "puppy"],
            ...}``.

    Raises:
        OptionError: neither a list nor a file.
        SourceFileError: a file that holds something else, or the same word twice.
    """
    if str(name) in CLASS_LISTS:
        return CLASS_LISTS[str(name)]
    path = Path(name)
    if not path.is_file():
        raise OptionError(
            f"there is no class list {str(name)!r}; name one of {', '.join(CLASS_LISTS)}, or a "
            f"file with one class a line"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = parsed(text) if path.suffix == ".json" else _lines(text)
    except (OSError, ValueError) as error:
        raise SourceFileError(f"cannot read the class list {path} ({shortened(error)})") from error
    classes = ClassList.of(_checked(content, path))
    _refuse_shared_words(classes, path)
    return classes


def _refuse_shared_words(classes: ClassList, path: Path) -> None:
    """Refuse a word that two classes are asked for by, which no model could tell apart."""
    asked: dict[str, str] = {}
    for name, words in zip(classes.class_names, classes.prompts):
        for word in words:
            plain = word.strip().lower()
            if plain in asked:
                other = asked[plain]
                whose = f"the classes {other} and {name}" if other != name else f"{name}, twice,"
                raise SourceFileError(
                    f"{path} asks for {whose} by the word {word.strip()!r}; a word belongs to one "
                    f"class, once"
                )
            asked[plain] = name


def _lines(text: str) -> dict[str, list[str]]:
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if len(set(names)) < len(names):
        raise ValueError("a class is listed twice")
    return {name: [] for name in names}


def _checked(content: Any, path: Path) -> dict[str, list[str]]:
    sensible = (
        isinstance(content, dict)
        and content
        and all(isinstance(prompts, list) for prompts in content.values())
        and all(
            isinstance(word, str) and word.strip()
            for prompts in content.values()
            for word in prompts
        )
    )
    if not sensible:
        raise SourceFileError(
            f"{path} is no class list: write one class a line, or as JSON an object of lists, such "
            f'as {{"background": [], "dog": ["dog", "puppy"]}}'
        )
    odd = [name for name in content if not one_line(name)]
    if odd:
        raise SourceFileError(
            f"{path} has the class {odd[0]!r}, whose name holds a control character or half a "
            f"character; write it as it is to be read"
        )
    if "background" in content and next(iter(content)) != "background":
        raise SourceFileError(f"{path} has the class background, but not first; put it first")
    return dict(content)
