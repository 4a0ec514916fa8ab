"""Draws the embedded default: small labelled scenes in visibly different domains.

A foreground class is a shape of roughly one hue. `CLIP_ART` scenes are vivid, flat and clean, those
of a `STUDIO` vivid, with texture, some clutter and soft light. `PHOTO` scenes have more of these,
duller colours that stray from the class's hue, occlusion and sensor noise. An annotator that learnt
elsewhere therefore makes honest errors on photos.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["CLASSES", "CLIP_ART", "PHOTO", "SIZE", "STUDIO", "Domain", "draw", "draw_many"]

CLASSES = ("background", "disc", "square", "triangle", "cross", "ring")
SIZE = 64

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Domain:
    """How the scenes of one domain look; pairs are the ends of a uniform range."""

    objects: tuple[int, int]  # shapes in a scene, both ends included
    radius: tuple[float, float]  # pixels
    stray: float  # standard deviation of a shape's hue around its class's, of a full turn of 1
    saturation: tuple[float, float]  # of the shapes' colours
    surroundings: tuple[float, float]  # saturation of background and clutter, of any hue
    texture: tuple[float, float]  # contrast of the pattern on shapes and background, 0 = flat
    clutter: tuple[int, int]  # sticks and crumbs that belong to the background
    light: float  # strength of the uneven light, 0 = none
    noise: float  # standard deviation of the sensor noise, of a range of 1


CLIP_ART = Domain(
    objects=(1, 3),
    radius=(8.0, 17.0),
    stray=0.03,
    saturation=(0.6, 1.0),
    surroundings=(0.0, 0.3),
    texture=(0.0, 0.15),
    clutter=(0, 3),
    light=0.1,
    noise=0.03,
)
STUDIO = Domain(
    objects=(1, 4),
    radius=(8.0, 17.0),
    stray=0.03,
    saturation=(0.5, 1.0),
    surroundings=(0.0, 0.4),
    texture=(0.0, 0.35),
    clutter=(1, 6),
    light=0.25,
    noise=0.04,
)
PHOTO = Domain(
    objects=(2, 4),
    radius=(8.0, 17.0),
    stray=0.05,
    saturation=(0.35, 0.9),
    surroundings=(0.0, 0.45),
    texture=(0.1, 0.35),
    clutter=(4, 9),
    light=0.4,
    noise=0.05,
)

_Y, _X = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)


def draw(domain: Domain, rng: np.random.Generator) -> tuple[Bytes, Bytes]:
    """Return one photo ``(3, SIZE, SIZE)`` uint8 and its label map ``(SIZE, SIZE)`` uint8."""
    canvas = _textured(_colour(rng.random(), domain.surroundings, rng), domain, rng)
    label = np.zeros((SIZE, SIZE), np.uint8)
    for _ in range(_between(domain.clutter, rng)):
        colour = _colour(rng.random(), domain.surroundings, rng)
        canvas = np.where(_clutter(rng), colour[:, None, None], canvas)
    for _ in range(_between(domain.objects, rng)):
        kind = int(rng.integers(1, len(CLASSES)))
        inside = _shape(kind, rng.uniform(*domain.radius), rng)
        hue = (kind - 1) / (len(CLASSES) - 1) + rng.normal(0, domain.stray)
        colour = _colour(hue, domain.saturation, rng)
        canvas = np.where(inside, _textured(colour, domain, rng), canvas)
        label[inside] = kind
    canvas = canvas * _light(domain.light, rng)
    canvas += rng.normal(0, domain.noise, canvas.shape).astype(np.float32)
    return (canvas.clip(0, 1) * 255).astype(np.uint8), label


def draw_many(domain: Domain, count: int, seed: int) -> tuple[Bytes, Bytes]:
    """Return ``count`` photos ``(N, 3, SIZE, SIZE)`` and label maps ``(N, SIZE, SIZE)``."""
    rng = np.random.default_rng(seed)
    photos, labels = zip(*(draw(domain, rng) for _ in range(count)))
    return np.stack(photos), np.stack(labels)


def _between(ends: tuple[int, int], rng: np.random.Generator) -> int:
    return int(rng.integers(ends[0], ends[1] + 1))


def _colour(hue: float, saturation: tuple[float, float], rng: np.random.Generator) -> Floats:
    rgb = colorsys.hsv_to_rgb(hue % 1, rng.uniform(*saturation), rng.uniform(0.4, 1.0))
    return np.array(rgb, np.float32)


def _textured(colour: Floats, domain: Domain, rng: np.random.Generator) -> Floats:
    contrast = rng.uniform(*domain.texture)
    return colour[:, None, None] * (1 + contrast * _pattern(rng))


def _pattern(rng: np.random.Generator) -> Floats:
    """Stripes, checks, spots or cloud, in [-1, 1]."""
    angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 6.3, 2)
    pitch = rng.uniform(0.5, 1.3)
    u = pitch * (np.cos(angle) * _X + np.sin(angle) * _Y) + phase[0]
    v = pitch * (np.cos(angle) * _Y - np.sin(angle) * _X) + phase[1]
    kind = rng.integers(4)
    if kind == 0:
        return np.sin(u).astype(np.float32)
    if kind == 1:
        return np.sign(np.sin(u) * np.sin(v)).astype(np.float32)
    if kind == 2:
        return np.where(np.sin(u) + np.sin(v) > 0.8, 1, -0.4).astype(np.float32)
    coarse = rng.uniform(-1, 1, (9, 9)).astype(np.float32)
    return np.repeat(np.repeat(coarse, 8, 0), 8, 1)[:SIZE, :SIZE]


def _shape(kind: int, radius: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    centre = rng.uniform(8, SIZE - 8, 2)
    angle = rng.uniform(0, 2 * np.pi)
    dx, dy = (_X - centre[0]) / radius, (_Y - centre[1]) / radius
    u, v = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
    r = np.hypot(u, v)
    if CLASSES[kind] == "disc":
        return r <= 0.95
    if CLASSES[kind] == "square":
        return np.maximum(abs(u), abs(v)) <= 0.8
    if CLASSES[kind] == "triangle":
        return (v >= -0.55) & (v <= 1.1 - 1.9 * abs(u))
    if CLASSES[kind] == "cross":
        return (np.minimum(abs(u), abs(v)) <= 0.3) & (np.maximum(abs(u), abs(v)) <= 1)
    return (r <= 1) & (r >= 0.5)


def _clutter(rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """A thin stick or a crumb: background, but not plain."""
    x, y = rng.uniform(0, SIZE, 2)
    angle, length = rng.uniform(0, np.pi), rng.uniform(2, 20)
    along = np.cos(angle) * (_X - x) + np.sin(angle) * (_Y - y)
    across = np.cos(angle) * (_Y - y) - np.sin(angle) * (_X - x)
    return (abs(along) <= length) & (abs(across) <= rng.uniform(0.6, 2.2))


def _light(strength: float, rng: np.random.Generator) -> Floats:
    """A slope of light across the scene, and a shadow with a soft edge."""
    angle = rng.uniform(0, 2 * np.pi)
    across = (np.cos(angle) * (_X - SIZE / 2) + np.sin(angle) * (_Y - SIZE / 2)) / SIZE
    shadow = 1 / (1 + np.exp((across - rng.uniform(-0.5, 0.5)) * 24))
    return (1 + strength * (across - rng.uniform(0, 0.8) * shadow)).astype(np.float32)
