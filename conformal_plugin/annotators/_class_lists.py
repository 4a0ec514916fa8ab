"""The class lists of VOC, ADE20K, Cityscapes and COCO, with the words to ask a model for them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformal_plugin._json import parsed
from conformal_plugin._messages import one_line, shortened
from conformal_plugin.errors import OptionError, SourceFileError

__all__ = ["CLASS_LISTS", "ClassList", "class_list"]


@dataclass(frozen=True)
class ClassList:
    """Classes in the order of their indices, each with one prompt or more.

    Attributes:
        class_names: what the classes are called, ``"background"`` first where there is one.
        prompts: per class the words that a model is asked for; the scores of several prompts of
            one class are joined.
    """

    class_names: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, classes: Mapping[str, Sequence[str]]) -> ClassList:
        """From names to prompts; no prompt means the name itself."""
        return cls(tuple(classes), tuple(tuple(p) or (name,) for name, p in classes.items()))

    @property
    def has_background(self) -> bool:
        """Whether class 0 is background."""
        return self.class_names[0] == "background"

    def asked(self, rule: str) -> ClassList:
        """The classes that a model is asked for under a background rule.

        Raises:
            OptionError: a rule that makes or leaves out a background that the list has not or has.
        """
        if self.has_background == (rule == "none"):
            has = "has" if self.has_background else "has no"
            fitting = "prompt or complement" if self.has_background else "none"
            raise OptionError(
                f"the class list {has} class named background (as its first), and the background "
                f"rule is {rule!r}; choose {fitting}, or another class list"
            )
        if rule == "complement":
            if len(self.class_names) == 1:
                raise OptionError("the class list holds background alone; add a class to look for")
            return ClassList(self.class_names[1:], self.prompts[1:])
        return self


def class_list(name: str | os.PathLike[str]) -> ClassList:
    """One of ``CLASS_LISTS`` by its name, or the class list in a file.

    Args:
        name: ``"voc"``, ``"voc-stuff"``, ``"ade20k"``, ``"cityscapes"``, ``"coco"``; a text file
            with one class a line; or a JSON file, ``{"background": [], "dog": ["dog", "puppy"],
            ...}``.

    Raises:
        OptionError: neither a list nor a file.
        SourceFileError: a file that holds something else.
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
    return ClassList.of(_checked(content, path))


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
        and all(isinstance(word, str) and word for prompts in content.values() for word in prompts)
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


def _named(*names: str, **prompts: str) -> ClassList:
    return ClassList.of({name: (prompts.get(name, name),) for name in names})


# ruff: noqa: SIM905  # words in running lines are easier to check than lists of strings
_VOC = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse "
    "motorbike person pottedplant sheep sofa train tvmonitor"
).split()

_VOC_PROMPTS = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "tvmonitor": "tv",
}

# What mostly lies behind VOC's objects, in words that no object of VOC's goes by.
_STUFF = (
    "wall, building, house, sky, clouds, grass, tree, bush, field, dirt, sand, rock, mountain, "
    "snow, road, pavement, railway track, bridge, fence, floor, carpet, ceiling, door, window, "
    "curtain, cabinet, shelf, bed, water, sea, river"
).split(", ")

_CITYSCAPES = (
    "road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, "
    "terrain, sky, person, rider, car, truck, bus, train, motorcycle, bicycle"
).split(", ")

_ADE20K = (
    "wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, "
    "person, earth, door, table, mountain, plant, curtain, chair, car, water, painting, sofa, "
    "shelf, house, sea, mirror, rug, field, armchair, seat, fence, desk, rock, wardrobe, lamp, "
    "bathtub, railing, cushion, base, box, column, signboard, chest of drawers, counter, sand, "
    "sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, "
    "pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, "
    "toilet, flower, book, hill, bench, countertop, stove, palm, kitchen island, computer, "
    "swivel chair, boat, bar, arcade machine, hovel, bus, towel, light, truck, tower, chandelier, "
    "awning, streetlight, booth, television receiver, airplane, dirt track, apparel, pole, land, "
    "bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship, fountain, "
    "conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall, "
    "tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot, "
    "animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, "
    "traffic light, tray, ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, "
    "radiator, glass, clock, flag"
).split(", ")

_COCO = (
    "background, person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, "
    "traffic light, fire hydrant, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, "
    "cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, "
    "skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, "
    "tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, "
    "orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, "
    "dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, "
    "toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush"
).split(", ")

CLASS_LISTS = {
    "voc": _named(*_VOC, **_VOC_PROMPTS),
    "voc-stuff": ClassList.of(
        {name: _STUFF if name == "background" else (_VOC_PROMPTS.get(name, name),) for name in _VOC}
    ),
    "ade20k": _named(
        *_ADE20K,
        windowpane="window",
        hovel="hut",
        apparel="clothes",
        plaything="toy",
        washer="washing machine",
        ashcan="trash can",
        minibike="motorbike",
        **{"crt screen": "computer screen", "television receiver": "television"},
    ),
    "cityscapes": _named(*_CITYSCAPES),
    "coco": _named(*_COCO),
}
"""VOC (21 classes with background; in ``voc-stuff`` background is asked for as wall, sky, grass and
the like, for the rule ``"prompt"``), ADE20K (150), Cityscapes (19), COCO (81 with background)."""
