"""The report as one HTML file: nothing in it is loaded from elsewhere, nothing in it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from conformal_plugin.calibration import Calibration
from conformal_plugin.choosing import Choice
from conformal_plugin.reporting._evidence import Evidence
from conformal_plugin.reporting._figures import Figure
from conformal_plugin.reporting._pictures import Example
from conformal_plugin.reporting._svg import STYLE

__all__ = ["Subject", "page", "standalone"]

_MOST_PAIRS = 10


@dataclass(frozen=True, eq=False)
class Subject:
    """What a page shows.

    Attributes:
        title: heading of the page.
        calibration: what was calibrated.
        evidence: what was measured.
        choice: what the labelled images say about alpha.
        figures: the charts.
        examples: images as pictures.
        names: the classes' names.
        colours: RGB of the classes in the pictures.
    """

    title: str
    calibration: Calibration
    evidence: Evidence
    choice: Choice
    figures: Sequence[Figure]
    examples: Sequence[Example]
    names: Sequence[str]
    colours: Mapping[int, tuple[int, int, int]]


def page(subject: Subject) -> str:
    """The whole file."""
    figures = {figure.name: figure for figure in subject.figures}
    parts = [
        _summary(subject),
        _claims(subject),
        '<h2>Is the coverage what was asked for?</h2><div class="pair">',
        _figure(figures["coverage_pixels"]),
        _figure(figures["coverage_images"]),
        "</div><h2>Which alpha?</h2>",
        _paragraphs(subject.choice.verdict),
        '<div class="pair">',
        _figure(figures["worth"]),
        _figure(figures["classes"]),
        "</div>",
    ]
    if "thresholds" in figures:
        parts += [
            '<h2>Thresholds per class</h2><div class="pair">',
            _figure(figures["thresholds"]),
            _threshold_table(subject),
            "</div>",
        ]
    parts += [
        '<h2>Where coverage is lost</h2><div class="pair">',
        _lost(subject),
        _figure(figures["confusion"]),
        "</div>",
        _examples(subject),
    ]
    title = escape(subject.title)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}</title>\n<style>{_STYLE}{STYLE}</style></head>\n"
        f"<body><main><h1>{title}</h1>{''.join(parts)}</main></body></html>\n"
    )


def standalone(figure: Figure) -> str:
    """A chart as an SVG file of its own."""
    paper = ".cp{background:var(--paper)}"
    return figure.svg.replace("><title>", f"><style>{STYLE}{paper}</style><title>", 1) + "\n"


def _summary(subject: Subject) -> str:
    result = subject.evidence.evaluation
    coverage = result.image_coverage
    numbers = (
        ("covered", _percent(result.coverage), "pixels whose true class is in their set"),
        ("kept", _percent(result.kept), "pixels that get a label"),
        ("precision", _percent(result.precision), "of the kept labels are right"),
        (
            "mIoU",
            _percent(result.miou(subject.choice.classes)),
            f"over {len(subject.choice.classes)} classes, dropped pixels as misses",
        ),
    )
    cards = "".join(
        f"<div><dt>{name}</dt><dd><b>{value}</b> {escape(text)}</dd></div>"
        for name, value, text in numbers
    )
    warning = (
        ""
        if subject.choice.worth_using
        else f'<p class="warning">{escape(subject.choice.verdict.splitlines()[0])}</p>'
    )
    return (
        f"{warning}<p>{result.n_images} labelled images with {result.n_pixels:,} pixels, rule "
        f"{escape(result.rule)}. Of an image's pixels {_percent(float(coverage.mean()))} are "
        f"covered on average and {_percent(float(coverage[0]))} in the worst image.</p>"
        f"<dl class='cards'>{cards}</dl>"
        "<p class='dim'>Were these images calibrated on, the figures at the calibration's "
        "threshold are a little too good; those against alpha are not, since no image there is "
        "labelled at a threshold that it helped to set.</p>"
    )


def _claims(subject: Subject) -> str:
    calibration = subject.calibration
    guarantee = calibration.guarantee
    kind = (
        "exact: a theorem, for any number of images"
        if guarantee.exact
        else "heuristic: about right on average, and no more than that"
    )
    level = "epsilon" if calibration.promises_precision else "alpha"
    worth = (
        ""
        if calibration.n_effective is None
        else f", worth about {calibration.n_effective:,.0f} independent ones"
    )
    repeats = (
        f" {calibration.n_repeats} repeated images were counted once."
        if calibration.n_repeats
        else ""
    )
    scope = f"rule {calibration.rule} alone" if calibration.promises_precision else "any rule"
    facts = [
        ("promise", f"{guarantee.name}, per {guarantee.unit}; {kind}"),
        ("level", f"{level} = {calibration.alpha:g}"),
        ("threshold", _thresholds(calibration)),
        ("holds for", scope),
        (
            "calibrated on",
            f"{calibration.n_images} images, {calibration.n_pixels:,} pixels{worth}.{repeats}",
        ),
        ("assumes", "that new images come from where the calibration images came from"),
        ("does not say", "anything about labels picked by another rule")
        if calibration.promises_precision
        else ("does not say", "that kept labels are right: coverage is not precision"),
    ]
    rows = "".join(
        f"<tr><th scope='row'>{name}</th><td>{escape(text)}</td></tr>" for name, text in facts
    )
    return (
        f"<h2>What is claimed</h2><p><b>{escape(guarantee.statement)}</b></p>"
        f"<table class='facts'><tbody>{rows}</tbody></table>"
    )


def _thresholds(calibration: Calibration) -> str:
    thresholds = np.atleast_1d(np.asarray(calibration.qhat, dtype=float))
    if len(thresholds) == 1:
        value = f"{thresholds[0]:.6g}"
    else:
        value = f"{thresholds.min():.6g} to {thresholds.max():.6g} over {len(thresholds)} classes"
    remark = "" if calibration.informative else "; 1 or more puts a class into every set"
    return f"q-hat {value} on 1 - P(class){remark}"


def _threshold_table(subject: Subject) -> str:
    calibration = subject.calibration
    fates = dict.fromkeys(calibration.pooled_classes, "shared")
    fates |= dict.fromkeys(calibration.left_out_classes, "left out")
    rows = "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td>{qhat:.4f}</td><td>{images}</td>"
        f"<td>{pixels:,}</td><td>{fates.get(c, 'own')}</td></tr>"
        for c, (name, qhat, images, pixels) in enumerate(
            zip(
                subject.names,
                np.asarray(calibration.qhat, dtype=float),
                calibration.images_per_class,
                calibration.pixels_per_class,
            )
        )
    )
    return (
        "<div class='scroll'><table><caption>Threshold, images K_c and pixels N_c of each class"
        "</caption><thead><tr><th>class</th><th>q-hat</th><th>K_c</th><th>N_c</th><th></th></tr>"
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def _lost(subject: Subject) -> str:
    lost = subject.evidence.lost
    total = int(lost.sum())
    pixels = subject.evidence.evaluation.n_pixels
    if not total:
        return "<p>No labelled pixel misses its true class in its prediction set.</p>"
    order = np.argsort(-lost, axis=None, kind="stable")[:_MOST_PAIRS]
    rows = ""
    for place in order:
        true, label = divmod(int(place), lost.shape[1])
        count = int(lost[true, label])
        if not count:
            break
        target = "dropped" if label == len(lost) else _name(subject, label)
        rows += (
            f"<tr><th scope='row'>{_name(subject, true)}</th><td>{target}</td>"
            f"<td>{_percent(count / pixels)}</td><td>{_percent(count / total)}</td></tr>"
        )
    return (
        f"<div class='scroll'><table><caption>{_percent(total / pixels)} of the labelled pixels "
        "do not have their true class in their set. What they are, and what label they got: the "
        "largest groups.</caption><thead><tr><th>true class</th><th>label</th><th>of all pixels"
        f"</th><th>of the lost</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _examples(subject: Subject) -> str:
    if not subject.examples:
        return ""
    keys = "".join(
        f"<li><span style='background:rgb{colour}'></span>{_name(subject, c)}</li>"
        for c, colour in sorted(subject.colours.items())
    )
    shown = "".join(_example(example) for example in subject.examples)
    return (
        "<h2>Best, median and worst images</h2><p>By the share of labelled pixels whose kept label "
        "is right.</p><ul class='legend'>"
        f"{keys}<li><span class='stripes'></span>dropped, or without a true label</li></ul>{shown}"
    )


def _example(example: Example) -> str:
    share = _percent(example.right)
    caption = f"{example.rank}: {example.name}, {share} of its pixels rightly labelled"
    tiles = "".join(
        f"<div><img src='{address}' alt='{escape(f'{what} of {example.name}', quote=True)}'>"
        f"<span>{escape(what)}</span></div>"
        for what, address in example.pictures.items()
    )
    return (
        f"<figure><figcaption>{escape(caption)}</figcaption>"
        f"<div class='tiles'>{tiles}</div></figure>"
    )


def _figure(figure: Figure) -> str:
    return (
        f"<figure><h3>{escape(figure.title)}</h3>{figure.svg}"
        f"<figcaption>{escape(figure.caption)}</figcaption></figure>"
    )


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(line)}</p>" for line in text.splitlines())


def _name(subject: Subject, c: int) -> str:
    return escape(subject.names[c])


def _percent(share: Any) -> str:
    return "none" if math.isnan(share) else f"{100 * share:.1f} %"


_STYLE = """
:root{color-scheme:light dark;--page:#fff;--text:#1b1b1b;--soft:#5c5c5c;--line:#dcdcdc;
--card:#f4f5f7;--alarm:#8a1c00;--alarmed:#fdece6}
@media (prefers-color-scheme:dark){:root{--page:#17191c;--text:#ececec;--soft:#aaa;--line:#3c3f44;
--card:#22252a;--alarm:#ffb199;--alarmed:#3a1d14}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--text);
font:16px/1.5 system-ui,sans-serif}main{max-width:1060px;margin:0 auto;padding:16px 18px 60px}
h1{font-size:1.55rem;line-height:1.2;margin:.6em 0}h2{font-size:1.2rem;margin:2em 0 .6em;
border-top:1px solid var(--line);padding-top:1.1em}
h3{font-size:1rem;margin:.2em 0 .5em}p{max-width:72ch;margin:.6em 0}
.dim,figcaption,caption{color:var(--soft);font-size:.87rem}
.warning{border-left:4px solid var(--alarm);background:var(--alarmed);padding:10px 14px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:1em 0}
.cards div{background:var(--card);border-radius:8px;padding:10px 14px}
.cards dt{font-weight:600}.cards dd{margin:0;font-size:.87rem;color:var(--soft)}
.cards b{display:block;font-size:1.55rem;color:var(--text)}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));
gap:18px 36px;align-items:start}
figure{margin:0 0 1.2em}figure svg{display:block;width:100%;max-width:520px;height:auto}
figcaption{margin:.4em 0;max-width:64ch}
table{border-collapse:collapse;font-size:.9rem;width:100%}caption{text-align:left;padding:0 0 .6em}
th,td{text-align:left;padding:5px 10px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}
td{font-variant-numeric:tabular-nums}.facts th{white-space:nowrap;width:8.5em;font-weight:600}
.scroll{overflow-x:auto}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:6px 18px;padding:0;font-size:.87rem}
.legend span{display:inline-block;width:16px;height:16px;border-radius:3px;margin-right:7px;
vertical-align:-3px;border:1px solid var(--line)}
.stripes{background:repeating-linear-gradient(45deg,#fff 0 3px,#a8a8a8 3px 6px)}
.tiles{display:grid;grid-template-columns:repeat(4,1fr);gap:8px}
.tiles img{display:block;width:100%;height:auto;border-radius:4px}
.tiles span{font-size:.8rem;color:var(--soft)}
@media (max-width:640px){.tiles{grid-template-columns:repeat(2,1fr)}}
"""
