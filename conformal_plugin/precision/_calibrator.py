"""Precision control: the loosest thresholds whose kept labels are wrong at most a share epsilon."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conformal_plugin._choices import OF
from conformal_plugin.calibration import Calibration, Guarantee, reading
from conformal_plugin.errors import EmptyCalibrationError, OptionError, ShapeError
from conformal_plugin.precision._bet_order import rows_to_bet_on
from conformal_plugin.precision._path import ThresholdPath
from conformal_plugin.precision._path_counts import ImageCounts, PathCounts, count_image
from conformal_plugin.precision._saved_state import SavedState, versions_of
from conformal_plugin.precision._target import PrecisionTarget
from conformal_plugin.processes import all_reduce
from conformal_plugin.scores import GroupLabels, labelled_images, one_kind

__all__ = ["PrecisionCalibrator", "calibrate_precision"]


def calibrate_precision(
    scores: Any,
    labels: Any,
    epsilon: float,
    delta: float = 0.1,
    *,
    rule: str = "foreground-first",
    background: int = 0,
    ignore_index: int = 255,
    of: str = "all",
    unlabelled_images: int | None = None,
    weighting: str = "share",
    max_pixels: int | None = None,
    test: str = "betting",
    path: ThresholdPath | None = None,
    planned: int | None = None,
    ids: Iterable[Any] | None = None,
    groups: Any = None,
) -> Calibration:
    """The loosest thresholds whose kept labels are wrong at most a share ``epsilon``.

    Exact: with probability at least ``1 - delta`` over the calibration images, the labels that
    :func:`conformal_plugin.filter` keeps at the returned thresholds are wrong at most a share
    ``epsilon`` in the population of images (see ``weighting`` for the average that is meant), if
    calibration and new images are independent draws of one distribution, however correlated the
    pixels of an image are. On some new images the share itself scatters around the population's,
    see :func:`conformal_plugin.precision.realised_share`. Most pixels are background, so that the
    share of wrong labels among the kept *foreground* is mostly well above epsilon: the statement
    says what it is on the calibration images. How many images it takes at least is
    :func:`conformal_plugin.precision.precision_images_needed`.

    Learn then Test (arXiv 2110.01052): every place of a ``path`` that was fixed beforehand
    gets a p-value with one observation per image, and a sequential test certifies places such that
    the probability of certifying any wrong one is at most delta; of these the one that keeps most
    is returned. The risk need not be monotone, and under the foreground-first rule it is not: a
    pixel that is background at a strict threshold may turn to foreground at a looser one.

    When no place can be certified the threshold is ``-inf``: ``filter`` keeps nothing, and the
    guarantee's statement says so, with the smallest epsilon that these images could certify.

    Args:
        scores: class scores in [0, 1] of one image ``(K, H, W)``, a batch ``(N, K, H, W)``, of
            volumes ``(N, K, D, H, W)``, or an iterable of these; kinds and dtypes as in
            :func:`conformal_plugin.calibrate`. Read once.
        labels: true classes in step with ``scores``.
        epsilon: the share of kept labels that may be wrong, in (0, 1).
        delta: the probability, in (0, 1), that the calibration images mislead.
        rule: how labels are picked, as in :func:`conformal_plugin.filter`. The promise holds for
            that rule alone.
        background: index of the background class.
        ignore_index: true label of pixels to leave out.
        of: ``"all"`` kept labels, or those of the ``"foreground"`` alone, of which a larger share
            is wrong: kept and wrong labels, and caps, are then counted of these, and nothing is
            promised of the background's. It takes a larger epsilon or more images.
        unlabelled_images: None for a promise about the population. A number of images for one about
            these: if the calibration images were drawn at random from among them all, then with
            probability ``1 - delta`` over the draw the labels kept of the unlabelled ones are wrong
            at most a share epsilon, whatever the images' law. They must be filtered all together.
            It keeps less, and is what a training set needs; see
            :func:`conformal_plugin.betting.betting_pvalue_without_replacement`.
        weighting: what is averaged over images, with n labelled pixels in an image (or as many of
            them as the cap lets through, where that is less), of which ``kept`` get a label and
            ``wrong`` a wrong one. ``"share"``: ``E[wrong / n] <= epsilon E[kept / n]``, the
            precision of all kept labels when every image counts alike (as its pixels do when
            images have one size). ``"pixel"``: ``E[wrong] <= epsilon E[kept]``,
            every pixel counts alike. ``"macro"``: ``E[wrong / max(kept, 1)] <= epsilon``, the mean
            over images of each image's own share; an image with nothing kept counts as faultless,
            one with few kept labels as much as one with many.
        max_pixels: for ``"pixel"``, a bound on the labelled pixels of any image, calibration or
            new, known beforehand. None takes height times width of the largest calibration image;
            the promise is then a heuristic, and says so. The nearer it is to the usual size, the
            more can be certified.
        test: ``"betting"``, see :func:`conformal_plugin.betting.betting_pvalue`, or
            ``"hoeffding-bentkus"``.
        path: the thresholds and caps to test; None for
            ``ThresholdPath.capped_foreground_first()``, with ``of="foreground"``
            ``ThresholdPath.foreground_alone()``, and with the other rules
            ``ThresholdPath.capped_one_threshold()``.
        planned: for growing sets: about how many images (or groups) there will be, fixed before the
            first look. More can then be labelled and looked at again with the promise kept by all
            looks together, see :meth:`PrecisionCalibrator.look`. None for one look; not with
            ``unlabelled_images``.
        ids: one name per image, in step with ``scores``; an image that comes twice is counted
            once. The betting test takes images in the order of a hash of their ids, so that the
            order they come in does not matter; without ids their number takes the id's place.
        groups: where images come in groups that are alike (a video, a patient, a scene), that of
            each, as in :func:`conformal_plugin.calibrate`. Groups are then the independent draws
            and are bet on, one after the other; a group's loss is the mean of its images' losses,
            and the averages of ``weighting`` are over the images of a group and then over groups.
            Not with ``unlabelled_images``, which are single images.

    Returns:
        The calibration. ``alpha`` is epsilon; ``qhat`` is one number, or one per class where the
        path sets background apart, and ``cap`` says which share of an image may keep its labels at
        most; ``filter`` holds to all of them.

    Raises:
        OptionError: an option that does not exist or contradicts another; an id that names two
            different images.
        EmptyCalibrationError: no pixel is labelled.
        InputTypeError, ShapeError, DeviceMismatchError, ScoreError, LabelError: bad input, see
            :mod:`conformal_plugin.errors`.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> scores = np.eye(2)[rng.integers(0, 2, (60, 8, 8))].transpose(0, 3, 1, 2)
        >>> calibration = calibrate_precision(scores, scores.argmax(1), epsilon=0.1)
        >>> calibration.qhat, calibration.cap, calibration.guarantee.exact
        (array([0.9  , 0.745]), None, True)
    """
    options: dict[str, Any] = {
        "weighting": weighting,
        "max_pixels": max_pixels,
        "test": test,
        "unlabelled_images": unlabelled_images,
        "planned": planned,
    }
    PrecisionTarget(epsilon, delta, of=of, **options).check_groups(groups is not None)
    calibrator = PrecisionCalibrator(
        rule=rule, background=background, ignore_index=ignore_index, of=of, path=path
    )
    calibrator.update(scores, labels, ids, groups)
    return calibrator.result(epsilon, delta, **options)


class PrecisionCalibrator:
    """Counts kept and wrong labels at each place of a path, image by image, in one reading.

    Memory is ``images x places x 32`` bytes, 2.5 kB an image with the default path, whatever the
    number of pixels. One count serves every epsilon, delta, weighting and test.

    Args:
        rule, background, ignore_index, of, path: as in :func:`calibrate_precision`.

    Raises:
        OptionError: a rule or a path that does not exist, or that the other does not fit.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> calibrator = PrecisionCalibrator()
        >>> for name in ("a", "b", "a"):
        ...     scores = np.full((2, 4, 4), 0.5)
        ...     calibrator.update(scores, np.zeros((4, 4), dtype=int), ids=[name])
        >>> calibrator.n_images
        2
    """

    _total_of_ranks = False
    # Of the class, for pickles of earlier versions.
    _volumes: bool | None = None
    of: str = OF[0]

    def __init__(
        self,
        *,
        rule: str = "foreground-first",
        background: int = 0,
        ignore_index: int = 255,
        of: str = "all",
        path: ThresholdPath | None = None,
    ) -> None:
        if of not in OF:
            raise OptionError(f"of must be one of {', '.join(OF)}, got {of!r}")
        path = _default_path(rule, of) if path is None else path
        if rule != "foreground-first" and not path.common:
            raise OptionError(
                f"rule {rule!r} takes one threshold for all classes, and this path sets background "
                f"apart; use ThresholdPath.one_threshold(), or rule='foreground-first'"
            )
        self.rule = rule
        self.background = background
        self.ignore_index = ignore_index
        self.of = of
        self.path = path
        self._images: dict[str, ImageCounts] = {}
        self._named: bool | None = None
        self._seen = 0
        self._looks: list[frozenset[str]] = []

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        # What release 0.1.0 pickled was not looked at.
        vars(self).update({"_looks": [], **pickled})

    @property
    def n_images(self) -> int:
        """Number of different images so far that hold at least one labelled pixel."""
        return len(self._images)

    @property
    def n_groups(self) -> int | None:
        """Number of their groups; None without groups."""
        groups = {image.group for image in self._images.values()}
        return None if groups <= {None} else len(groups)

    def update(
        self,
        scores: Any,
        labels: Any,
        ids: Iterable[Any] | None = None,
        groups: Any = None,
    ) -> None:
        """Count more images: any form of images and labels that :func:`calibrate_precision` takes.

        Nothing is counted when any part of the input is refused.

        Raises:
            OptionError: ids, or groups, here and none before or the other way round; an id that
                names two different images, or one image in two groups.
            ShapeError: separate points instead of images, another number of classes than before,
                or a number of ids other than that of images.
            InputTypeError, DeviceMismatchError, ScoreError, LabelError: bad input.
        """
        fresh: dict[str, ImageCounts] = {}
        volumes = self._volumes
        names = None if ids is None else iter(ids)
        belongs = None if groups is None else GroupLabels(groups)
        count = 0
        for item in labelled_images(scores, labels):
            with item.named():
                volumes = one_kind(volumes, item.volume)
                image = count_image(
                    item,
                    self.path,
                    rule=self.rule,
                    background=self.background,
                    ignore_index=self.ignore_index,
                    of=self.of,
                )
            name = str(self._seen + count) if names is None else _next_id(names, count)
            count += 1
            group = None if belongs is None else belongs.take(1, None if ids is None else [name])[0]
            if image is not None:
                _add(fresh, name, replace(image, group=group))
        if belongs is not None:
            belongs.end()
        if names is not None and next(names, None) is not None:
            raise ShapeError(
                f"ids went on after {count} images: pass one id per image, in the same order"
            )
        self._merge(fresh, named=ids is not None, volumes=volumes)
        self._seen += count

    def merge(self, other: PrecisionCalibrator) -> PrecisionCalibrator:
        """Add the images of ``other`` to these, in any order; returns this calibrator.

        Images that both have counted are told by their ids.

        Raises:
            OptionError: other settings, images without ids, or an id of two different images.
            ShapeError: another number of classes.
        """
        mine, theirs = self._settings(), other._settings()
        if mine != theirs:
            raise OptionError(
                "cannot merge precision calibrators with another rule, background, ignore_index, "
                "of or path; construct both with the same ones"
            )
        if self._images and other._images and not (self._named and other._named):
            raise OptionError(
                "cannot merge images without ids, which nothing tells apart; pass ids to update"
            )
        if self._looks != other._looks and self._images and other._images:
            raise OptionError(
                "cannot merge precision calibrators that were looked at at different times; add "
                "new images to the one that was"
            )
        if other._images:
            self._merge(other._images, named=bool(other._named), volumes=other._volumes)
            self._looks = self._looks or other._looks
        return self

    def all_reduce(self, group: Any = None) -> PrecisionCalibrator:
        """Add up the images of all ranks on each: :func:`conformal_plugin.processes.all_reduce`.

        They need ids; an image that several ranks have counted is counted once.
        """
        return all_reduce(self, group)

    def look(self, ids: Iterable[Any] | None = None) -> None:
        """Say that a result is looked at, after which more images may be labelled and counted.

        A bet may look at the images before it, not at those that come after a decision to label
        more was taken on what they showed. So images are bet on look by look, and in the order of
        a hash of their ids within each. The bets of ``planned`` images do not depend on how many
        there are, which makes their p-values valid at all looks together (Ville's inequality; arXiv
        2010.09686), whatever made somebody go on or stop. What new images are must not depend on
        their scores or labels: draw them at random.

        Args:
            ids: of the images that were looked at; None for all that were counted. Those without
                a labelled pixel are passed over.

        Example:
            >>> import numpy as np
            >>> rng, calibrator = np.random.default_rng(0), PrecisionCalibrator()
            >>> def label(images):
            ...     scores = np.eye(2)[rng.integers(0, 2, (images, 8, 8))].transpose(0, 3, 1, 2)
            ...     names = [f"{calibrator.n_images + i}" for i in range(images)]
            ...     calibrator.update(scores, scores.argmax(1), names)
            ...     found = calibrator.result(0.1, planned=40)
            ...     calibrator.look()
            ...     return found.informative and bool(np.isfinite(found.qhat).all())
            >>> label(20), label(10)
            (False, True)
        """
        names = frozenset(self._images)
        if ids is not None:
            names = names.intersection(str(name) for name in ids)
        fresh = names.difference(*self._looks)
        if fresh:
            self._looks.append(fresh)

    def counts(self) -> PathCounts:
        """All counts so far, look by look, and in each in the order of a hash of the ids.

        Where images come in groups, groups are in the order of a hash of their names.

        Raises:
            EmptyCalibrationError: no pixel has been counted.
        """
        if not self._images:
            raise EmptyCalibrationError(
                f"the calibration set holds no labelled pixel: every label is {self.ignore_index} "
                f"or nothing was passed; check ignore_index and that the label files are not blank"
            )
        return rows_to_bet_on(self._images, self._looks)

    def result(
        self,
        epsilon: float,
        delta: float = 0.1,
        *,
        weighting: str = "share",
        max_pixels: int | None = None,
        test: str = "betting",
        unlabelled_images: int | None = None,
        planned: int | None = None,
    ) -> Calibration:
        """The calibration at ``epsilon`` and ``delta``; counting may go on afterwards.

        The promise holds for settings that were chosen beforehand, not for the best of several, and
        for one look, unless ``planned`` is given: images that are counted after a :meth:`look` are
        then bet on after those before it.

        Raises:
            OptionError, EmptyCalibrationError: as :func:`calibrate_precision`.
        """
        target = PrecisionTarget(
            epsilon, delta, weighting, max_pixels, test, self.of, unlabelled_images, planned
        )
        counts = self.counts()
        place = target.certified(counts, self.path)
        if place is None:
            qhat: Any = -math.inf
            cap = 1.0
            statement = target.nothing(counts, self.path)
        else:
            qhat = self.path.qhat(place, counts.classes.shape[1], self.background)
            cap = float(self.path.caps[place])
            statement = target.promise(counts, self.rule, self.path, place)
        unit = "image" if counts.groups is None else "group"
        guarantee = Guarantee(f"precision-{weighting}", unit, target.exact, statement)
        return Calibration(
            qhat=qhat,
            alpha=target.epsilon,
            guarantee=guarantee.of_volumes() if self._volumes else guarantee,
            ignore_index=self.ignore_index,
            n_pixels=int(counts.pixels.sum()),
            n_images=len(counts.ids),
            pixels_per_class=counts.classes.sum(axis=0),
            images_per_class=(counts.classes > 0).sum(axis=0),
            rule=self.rule,
            background=self.background,
            max_pixels=(target.pixel_bound(counts, self.path) if weighting == "pixel" else None),
            cap=None if cap == 1.0 else cap,
            of=self.of,
            n_groups=counts.n_groups,
            groups_per_class=counts.groups_per_class,
        )

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """All that was counted, as plain arrays that ``numpy.savez`` stores without pickling."""
        saved = SavedState(
            options=self._options(),
            path=self.path,
            images=self._images,
            named=bool(self._named),
            seen=self._seen,
            volumes=bool(self._volumes),
            looks=self._looks,
        )
        return saved.arrays(type(self).__name__)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> PrecisionCalibrator:
        """A calibrator that goes on from what :meth:`state` returned.

        Raises:
            CalibrationFileError: a state of another version or kind, or damaged.
        """
        with reading(state, cls.__name__, *versions_of(state)):
            saved = SavedState.of(state)
            calibrator = cls(**saved.options, path=saved.path)
            calibrator._merge(saved.images, named=saved.named, volumes=saved.volumes)
            calibrator._seen = saved.seen
            for look in saved.looks:
                calibrator.look(look)
        return calibrator

    def _options(self) -> dict[str, Any]:
        names = ("rule", "background", "ignore_index", "of")
        return {name: getattr(self, name) for name in names}

    def _settings(self) -> tuple[Any, ...]:
        path = self.path
        places = [values.tobytes() for values in (path.background, path.foreground, path.caps)]
        starts = (path.starts, path.shares, path.scouts)
        return (*self._options().values(), *places, *starts)

    def _merge(
        self, images: Mapping[str, ImageCounts], *, named: bool, volumes: bool | None
    ) -> None:
        if not images:
            return
        kind = one_kind(self._volumes, bool(volumes))
        if self._named not in (None, named):
            raise OptionError(
                "some images came with ids and some without; pass ids for all of them or for none"
            )
        grouped = {image.group is not None for image in (*self._images.values(), *images.values())}
        if len(grouped) > 1:
            raise OptionError(
                "some images came with groups and some without; pass groups for all of them, a "
                "group of its own for an image that is alone, or for none"
            )
        together = dict(self._images)
        for name, image in images.items():
            _add(together, name, image)
        self._images = together
        self._named = named
        self._volumes = kind


def _default_path(rule: str, of: str) -> ThresholdPath:
    if rule == "foreground-first":
        if of == "foreground":
            return ThresholdPath.foreground_alone()
        return ThresholdPath.capped_foreground_first()
    return ThresholdPath.capped_one_threshold()


def _next_id(ids: Iterator[Any], position: int) -> str:
    name = next(ids, None)
    if name is None:
        raise ShapeError(
            f"ids ended after {position} images while scores went on: pass one id per image, in "
            f"the same order"
        )
    return str(name)


def _add(images: dict[str, ImageCounts], name: str, image: ImageCounts) -> None:
    first = next(iter(images.values()), image)
    if len(first.classes) != len(image.classes):
        raise ShapeError(
            f"scores must all have the same number of classes: {len(first.classes)} came first, "
            f"now {len(image.classes)}; check that all come from one annotator"
        )
    if not images.setdefault(name, image).same(image):
        raise OptionError(
            f"the id {name!r} names two images that differ, or one in two groups; give every "
            f"image an id of its own, and calibrate on whole images without random augmentation"
        )
