"""What ``calibrate`` does where nothing was asked for: what the labelled images support."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Any

from conformal_plugin._choices import RULES
from conformal_plugin.calibration import Calibration
from conformal_plugin.choosing import MIN_IMAGES, Choice, choose
from conformal_plugin.cli._groups import groups_of
from conformal_plugin.cli._inputs import class_or_none, maps_and_labels, naming_of_all, own_maps
from conformal_plugin.cli._progress import Readings
from conformal_plugin.cli._read_digest import ReadDigest
from conformal_plugin.cli._report import warn_of
from conformal_plugin.cli._sharding import Ranks
from conformal_plugin.errors import NotWorthUsingError, OptionError
from conformal_plugin.evaluation import LabelDoubts
from conformal_plugin.files import IdList, checksum

__all__ = ["Decision", "decided"]

_PAPER = {"guarantee": "pixel", "alpha": [0.05], "rule": RULES[0]}
_ASKED = ("guarantee", "alpha", "rule", "epsilon", "tau", "few", "min_images", "clusters")
_OF_THE_CHOICE = ("classes", "own_maps")


@dataclass(frozen=True)
class Decision:
    """What was decided, the words and figures that it rests on, and what they were read from.

    Attributes:
        verdict: in words, a sentence or two a line.
        content: the choice as plain values.
        calibration: of all images, in the way that was decided.
        read: what was read.
        doubts: what speaks against the labels.
    """

    verdict: str
    content: dict[str, Any]
    calibration: Calibration
    read: ReadDigest
    doubts: LabelDoubts


def decided(arguments: argparse.Namespace, ids: IdList, ranks: Ranks) -> Decision | None:
    """Fill in the options that were left out; None where the user has decided.

    Rank 0 looks at the labelled images, and all ranks go on with what it finds.

    Raises:
        OptionError: options that contradict each other.
        NotWorthUsingError: the labelled images speak against the annotator's labels.
    """
    asked = [name for name in _ASKED if getattr(arguments, name) is not None]
    if arguments.preset is not None and asked:
        raise OptionError(
            f"--preset {arguments.preset} decides what --{asked[0].replace('_', '-')} is about; "
            f"leave one of them out"
        )
    if arguments.preset is not None or asked:
        for name in _OF_THE_CHOICE:
            if getattr(arguments, name) is not None:
                raise OptionError(
                    f"--{name.replace('_', '-')} is for choosing among all ways to label, and this "
                    f"one was asked for; leave it out"
                )
        _fill(arguments, _PAPER if arguments.preset is not None else {})
        return None
    found: list[Decision | None] = [None]

    def decide() -> None:
        found[0] = _decide(arguments, ids)

    ranks.first(decide)
    decision = ranks.gather(found[0])[0]
    assert decision is not None
    proposed = decision.content["proposed"]
    own_threshold = proposed["thresholds"] == "class-conditional"
    _fill(
        arguments,
        {
            "guarantee": proposed["thresholds"],
            "alpha": [proposed["alpha"]],
            "rule": proposed["rule"],
            "background": "none" if proposed["background"] is None else proposed["background"],
            "min_images": MIN_IMAGES if own_threshold else None,
        },
    )
    return decision


def _fill(arguments: argparse.Namespace, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(arguments, name, value)


class _FirstLook(LabelDoubts):
    """Doubts about the labels, and a digest of the images that they were looked for in."""

    def __init__(self, ignore_index: int) -> None:
        super().__init__(ignore_index)
        self.read = ReadDigest()

    def look(self, name: str, scores: Any, labels: Any) -> None:
        """Take an image into account, once."""
        if not self.has_seen(name):
            self.read.add(name, checksum(scores), checksum(labels))
        super().look(name, scores, labels)


def _decide(arguments: argparse.Namespace, ids: IdList) -> Decision:
    ignore_index = 255 if arguments.ignore_index is None else arguments.ignore_index
    seen = _FirstLook(ignore_index)
    maps, labels = maps_and_labels(arguments, ids, doubts=seen)
    with naming_of_all(ids.ids):
        choice = choose(
            Readings(maps, "choose", quiet=arguments.quiet),
            labels,
            classes=arguments.classes,
            background=class_or_none(arguments.background),
            ignore_index=ignore_index,
            ids=ids.ids,
            own=own_maps(arguments, ids),
            groups=groups_of(arguments, ids),
        )
    if not choice.worth_using:  # else they are said when all is well
        warn_of(seen.found())
    calibration = _calibration(choice)
    return Decision(choice.verdict, json.loads(choice.to_json()), calibration, seen.read, seen)


def _calibration(choice: Choice) -> Calibration:
    if choice.worth_using and choice.calibration is not None:
        return choice.calibration
    reason = choice.verdict.splitlines()[0]
    if choice.worth_using:
        reason = "The labels are best as the annotator gives them, and no threshold can be used."
    raise NotWorthUsingError(
        f"{reason} No calibration is written. `conformal-plugin choose` shows what was compared; "
        f"--preset paper, or --alpha and --rule, calibrate all the same"
    )
