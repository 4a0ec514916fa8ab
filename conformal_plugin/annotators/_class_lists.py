"""The class lists of VOC, ADE20K, Cityscapes and COCO, with the words to ask a model for them."""

from __future__ import annotations

from conformal_plugin.annotators._class_list import ClassList

__all__ = ["CLASS_LISTS"]


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
