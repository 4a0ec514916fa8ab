"""Checks of how the pseudo-labels were made, and of what the calibration behind them promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from conformal_plugin._messages import shown
from conformal_plugin.adapters.labels import LABEL_SETTINGS
from conformal_plugin.calibration import Calibration
from conformal_plugin.doctor._case import Case
from conformal_plugin.doctor._findings import Finding, check, error, ok, some, warning
from conformal_plugin.doctor._id_lines import NotKnownError
from conformal_plugin.errors import ConformalError
from conformal_plugin.evaluation import NOT_EXCHANGEABLE

__all__: list[str] = []

_AGAIN = "filter again with this calibration, or name the one that the labels were made with"


@check
def settings_of_the_pseudo_labels(case: Case) -> Iterator[Finding]:
    """`conformal-plugin filter` leaves its settings beside the labels."""
    folder = case.options.pseudo_labels
    if not (folder / LABEL_SETTINGS).is_file():
        yield warning(
            f"{folder} has no {LABEL_SETTINGS}, so these labels were not made by `conformal-plugin "
            "filter`: nothing is known of their threshold",
            "make them with it where they are meant to be conformal",
        )
        return
    settings = case.label_settings
    if "own_numbers" in settings:
        yield error(
            f"the labels in {folder} hold the numbers of the masks, not classes",
            "filter again without --own-numbers: the inserted lines train on classes",
        )
    ignored = settings.get("ignore_index")
    if ignored != case.options.ignore_index:
        yield error(
            f"dropped pixels hold {ignored} in the labels, and ignore_index is "
            f"{case.options.ignore_index} in the config",
            f"write ignore_index: {ignored} under conformal:",
        )
    else:
        yield ok(f"labels made {_made(settings)}, dropped pixels {ignored}")


def _made(settings: Mapping[str, Any]) -> str:
    """With what the labels were made."""
    if settings.get("qhat") is None:
        return "without a threshold (argmax)"
    rule = f"rule {settings.get('rule')}"
    if settings.get("alpha") is None:
        return f"with the threshold {shown(settings['qhat'])} and no calibration, {rule}"
    return f"at alpha {settings['alpha']}, {rule}"


@check
def calibration_can_be_read(case: Case) -> Iterator[Finding]:
    """The host's script reads it when it starts."""
    path = case.options.calibration
    if path is None:
        raise NotKnownError("the conformal: block names no calibration")
    try:
        Calibration.load(path)
    except ConformalError as problem:
        yield error(str(problem))
    else:
        yield ok(f"the calibration {path} can be read")


@check
def labels_are_of_this_calibration(case: Case) -> Iterator[Finding]:
    """Threshold, alpha and rule of the labels are the calibration's."""
    calibration, settings = case.calibration, case.label_settings
    if settings.get("qhat") is None:
        yield error(
            "the labels are the annotator's raw ones (argmax), not this calibration's", _AGAIN
        )
        return
    qhat = np.asarray(settings.get("qhat"), dtype=np.float64)
    if not np.array_equal(qhat, np.asarray(calibration.qhat)):
        yield error("the labels were made with another threshold than the calibration's", _AGAIN)
    elif calibration.rule is not None and settings.get("rule") != calibration.rule:
        yield error(
            f"the calibration is for the rule {calibration.rule}, and the labels were "
            f"made with {settings.get('rule')}",
            f"filter again with --rule {calibration.rule}",
        )
    else:
        yield ok("the labels were made with this calibration")


@check
def calibration_fits_the_run(case: Case) -> Iterator[Finding]:
    """Its classes are the host's, and its threshold says something."""
    calibration = case.calibration
    if calibration.num_classes != case.nclass:
        yield error(
            f"the calibration has {calibration.num_classes} classes and the config nclass "
            f"{case.nclass}",
            "the annotator's maps and the masks must number the same classes: correct nclass, or "
            "calibrate on maps with these classes",
        )
    else:
        yield ok(f"the calibration has the {case.nclass} classes of the config")
    if not calibration.informative:
        yield error(
            "the calibration's threshold puts every class into every prediction set, so its labels "
            "say nothing",
            "calibrate with a larger alpha, or on more labelled photos",
        )


@check
def what_the_calibration_promises(case: Case) -> Iterator[Finding]:
    """In a sentence, with whether that is a theorem."""
    guarantee = case.calibration.guarantee
    kind = "exact" if guarantee.exact else "heuristic"
    yield ok(f"{guarantee.statement} ({kind}, per {guarantee.unit}, {guarantee.name})")


@check
def unlabelled_maps_look_like_the_labelled_ones(case: Case) -> Iterator[Finding]:
    """By the test that `conformal-plugin calibrate --unlabelled` makes."""
    comparison = case.calibration.comparison
    if comparison is None:
        raise NotKnownError(
            "the calibration was made without --unlabelled, so labelled and unlabelled maps were "
            "not compared"
        )
    if comparison.p_value <= NOT_EXCHANGEABLE:
        yield warning(
            comparison.statement,
            "calibrate on labelled photos drawn at random from those to be labelled, or label some "
            "of these",
        )
    else:
        yield ok(comparison.statement)


@check
def calibrated_on_the_labelled_photos(case: Case) -> Iterator[Finding]:
    """By their number: a calibration does not record which photos it saw.

    Photos that came by review were chosen by their scores, and are trained on alone.
    """
    counted, chosen = case.calibration.n_images, case.chosen
    labelled = len({line.photo for line in case.labelled if line.photo})
    if chosen:
        drawn = labelled - len(chosen)
        text = (
            f"{len(chosen)} of the {labelled} labelled photos were chosen by their scores to be "
            f"corrected ({some(chosen)}), and the calibration counted {counted} images"
        )
        if counted > drawn:
            yield warning(
                f"{text}, more than the {drawn} others: it promises nothing about other photos",
                "calibrate on photos that were drawn at random, and train on all (docs/review.md)",
            )
        else:
            yield ok(f"{text}: no more than the {drawn} others")
    elif counted > labelled:
        yield warning(
            f"the calibration counted {counted} images and the labelled list has {labelled} "
            "photos: it saw others, perhaps unlabelled or test photos",
            "calibrate with --ids and this labelled list",
        )
    elif counted < labelled:
        yield warning(
            f"the calibration counted {counted} images and the labelled list has {labelled} photos",
            "calibrate on all of them where none is held out to evaluate on",
        )
    else:
        yield ok(f"the calibration counted as many images as the labelled list has, {labelled}")


@check
def calibrated_on_no_unlabelled_photo(case: Case) -> Iterator[Finding]:
    """Cannot be told from the file."""
    yield from ()
    raise NotKnownError(
        f"a calibration file does not record its {case.calibration.n_images} photos; see to it "
        "that --ids was the labelled list alone"
    )
