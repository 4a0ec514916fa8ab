"""The card of a shared calibration: the Hub's YAML, and what was calibrated and is promised."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from conformal_plugin._extras import optional
from conformal_plugin._messages import shortened
from conformal_plugin.calibration import MADE_FOR, READ, Calibration
from conformal_plugin.hub._contents import CALIBRATION, Contents
from conformal_plugin.hub._labels import LabelSet, LabelTally

__all__ = ["Card"]

_TAGS: Final = ("conformal-plugin", "conformal-prediction", "semantic-segmentation", "calibration")
_SIZES: Final = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"))
_MARKS: Final = re.compile(r"([\\`*_{}\[\]<>|#&~!])")


class _Markdown(str):
    """What is Markdown already; all other text is escaped."""


@dataclass(frozen=True)
class Card:
    """All that a card says.

    Attributes:
        title: its heading; None for one that says what there is.
        calibration: what is shared.
        file: what the calibration's file says beside it.
        contents: of the folder.
        labels: those of the folder; None without any.
        tally: of the labels.
    """

    title: str | None
    calibration: Calibration
    file: Mapping[str, Any]
    contents: Contents
    labels: LabelSet | None
    tally: LabelTally | None

    @staticmethod
    def require() -> None:
        """Import what draws cards, before any work.

        Raises:
            MissingExtraError: Jinja2 or PyYAML is not installed.
        """
        _jinja2()
        _yaml()

    def text(self) -> str:
        """The file."""
        engine = _jinja2()
        environment = engine.Environment(
            loader=engine.PackageLoader(__package__, "templates"),
            autoescape=False,  # Markdown has other marks than HTML
            finalize=_escaped,
            undefined=engine.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        body = environment.get_template("card.md.jinja").render(
            title=self._heading(),
            calibration=self.calibration,
            facts=list(self._facts()),
            annotator=self._annotator(),
            columns=self._columns(),
            classes=self._classes(),
            labels=self.labels,
            tally=self.tally,
            kept=None if self.tally is None else _percent(self.tally.kept),
            license=self.contents.license,
            versions=", ".join(f"{name} {of}" for name, of in self.contents.versions.items()),
        )
        return f"---\n{self._front_matter()}---\n\n{body}"

    def _heading(self) -> str:
        if self.title is not None:
            return self.title
        return "Pseudo-labels and their calibration" if self.labels else "A calibration"

    def _front_matter(self) -> str:
        content: dict[str, Any] = {}
        if self.contents.license is not None:
            content["license"] = self.contents.license
        if self.tally is None:
            content |= {"library_name": "conformal-plugin", "tags": list(_TAGS)}
        else:
            sizes = [size for most, size in _SIZES if self.tally.files < most]
            content |= {
                "pretty_name": self._heading(),
                "task_categories": ["image-segmentation"],
                "size_categories": [*sizes, "n>1M"][:1],
                "tags": [*_TAGS, "pseudo-labels"],
            }
        return str(_yaml().safe_dump(content, sort_keys=False, allow_unicode=True))

    def _facts(self) -> Iterator[tuple[str, str]]:
        """What there is to know of the calibration in a word or a line each."""
        calibration, promise = self.calibration, self.calibration.guarantee
        kind = "exact (a theorem for finite samples)" if promise.exact else "heuristic (no theorem)"
        yield "promise", f"{promise.name}, per {promise.unit}"
        yield "kind", kind
        level = "epsilon" if calibration.promises_precision else "alpha"
        yield level, f"{calibration.alpha:g}"
        if calibration.delta is not None:
            yield "delta", f"{calibration.delta:g}"
        yield "threshold on 1 - P(class)", _thresholds(calibration.qhat)
        yield "rule", calibration.rule or "any"
        if calibration.background is not None:
            yield "background", str(calibration.background)
        if calibration.cap is not None:
            yield "cap", f"{calibration.cap:g} of an image's pixels, of labels of: {calibration.of}"
        yield "calibrated on", _sizes(calibration)
        yield "ignore index", str(calibration.ignore_index)
        if calibration.label_map is not None:
            yield "values of the masks", calibration.label_map.text
        if calibration.comparison is not None:
            yield "labelled beside unlabelled", calibration.comparison.statement
        yield "SHA-256 of the file", _code(self.contents.files[CALIBRATION])
        read = self.file.get(READ)
        if isinstance(read, Mapping):
            known = [f"{name} {read.get(name)}" for name in ("ids", "values")]
            yield "digest of what was read", _code(", ".join(known))

    def _annotator(self) -> Mapping[str, str | None]:
        """Its digest, and its fingerprint as an indented block, which nothing can close."""
        known = self.contents.annotator
        shown = None
        if known is not None:
            lines = json.dumps(_brief(known), indent=1, ensure_ascii=False).split("\n")
            shown = _Markdown("\n".join(f"    {line}" for line in lines))
        digest = self.file.get(MADE_FOR)
        return {"digest": None if digest is None else _code(str(digest)), "fingerprint": shown}

    def _columns(self) -> Sequence[str]:
        columns = ["class", "name", "labelled images", "labelled pixels"]
        if np.ndim(self.calibration.qhat):
            columns.append("threshold")
        return [*columns, "share of labels"] if self._by_class else columns

    def _classes(self) -> Iterator[Sequence[str]]:
        calibration = self.calibration
        names = self.contents.class_names or [""] * calibration.num_classes
        for c, name in enumerate(names):
            row = [str(c), name, str(calibration.images_per_class[c])]
            row.append(str(calibration.pixels_per_class[c]))
            if np.ndim(calibration.qhat):
                row.append(f"{np.asarray(calibration.qhat)[c]:.6g}")
            if self._by_class and self.tally is not None:
                row.append(_percent(self.tally.share(c)))
            yield row

    @property
    def _by_class(self) -> bool:
        return self.labels is not None and self.labels.classes


def _sizes(calibration: Calibration) -> str:
    groups = "" if calibration.n_groups is None else f" in {calibration.n_groups} groups"
    worth = calibration.n_effective
    independent = "" if worth is None else f", worth about {worth:.0f} independent ones"
    return f"{calibration.n_images} images{groups}, {calibration.n_pixels} pixels{independent}"


def _thresholds(qhat: Any) -> str:
    values = np.atleast_1d(np.asarray(qhat, dtype=float))
    if len(values) == 1:
        return f"{values[0]:.6g}" if math.isfinite(values[0]) else "infinite"
    return f"{values.min():.6g} to {values.max():.6g}, a class its own"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _brief(value: Any) -> Any:
    """Without what is long: the lists of images that an annotator was fitted on, for one."""
    if isinstance(value, Mapping):
        return {str(name): _brief(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        few = [_brief(part) for part in value[:20]]
        return few if len(value) <= 20 else [*few, f"... {len(value)} in all"]
    return shortened(value) if isinstance(value, str) else value


def _escaped(value: Any) -> str:
    """Text in a line of Markdown, none of whose marks means anything."""
    if isinstance(value, _Markdown):
        return value
    return _MARKS.sub(r"\\\1", " ".join(str(value).split()))


def _code(text: str) -> _Markdown:
    """Digests and the like, which hold no mark of Markdown's."""
    return _Markdown(f"`{text}`") if re.fullmatch(r"[\w ,.-]*", text) else _Markdown(_escaped(text))


def _jinja2() -> Any:
    return optional("jinja2", "jinja2", "a card")


def _yaml() -> Any:
    return optional("yaml", "pyyaml", "a card")
