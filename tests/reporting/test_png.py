"""The charts as PNG: there, of the stated size, drawn and written on, and of the data given."""

from __future__ import annotations

import io
import re
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from conformal_plugin.cli import main
from conformal_plugin.errors import MissingExtraError
from conformal_plugin.reporting import _png as png, drawn, require_renderer
from conformal_plugin.reporting._png import SCALE
from conformal_plugin.reporting._svg import LIGHT, WIDTH, Series, bar_rows, line_chart


def pixels(content):
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def share_of(image, colour):
    """Share of the pixels that have a colour ``#rrggbb``, to a level or two."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return float((abs(image - wanted) <= 2).all(axis=-1).mean())


def bars(value, name="cat"):
    return bar_rows("title", "description", [name], [Series("share", [value], colour=1)])


@pytest.mark.parametrize("kind", ["pixel", "class-conditional"])
def test_every_chart_has_one_of_its_size_that_is_not_blank(reported, kind):
    folder = reported.root / kind / "figures"
    names = sorted(path.stem for path in folder.glob("*.svg"))
    assert len(names) >= 5
    assert names == sorted(path.stem for path in folder.glob("*.png"))
    for name in names:
        text = (folder / f"{name}.svg").read_text(encoding="utf-8")
        width, height = map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', text).groups())
        image = pixels((folder / f"{name}.png").read_bytes())
        assert image.shape[:2] == (round(SCALE * height), round(SCALE * width))
        assert width == WIDTH
        assert (image[0, 0] == 255).all()  # white paper, not transparent
        assert 0.001 < share_of(image, LIGHT["ink"]) + share_of(image, LIGHT["dim"]) < 0.2
        assert share_of(image, LIGHT["paper"]) < 0.99


def test_a_bar_is_as_long_as_its_value_in_the_colour_of_the_page():
    short, long = (share_of(pixels(drawn(bars(value))), LIGHT["c1"]) for value in (0.3, 0.9))
    key = share_of(pixels(drawn(bars(0.0))), LIGHT["c1"])
    assert key > 0
    assert (long - key) / (short - key) == pytest.approx(3, rel=0.03)


def test_a_line_goes_through_its_points():
    values = [0.95, 0.8, 0.6]
    chart = line_chart("t", "d", [0.1, 0.2, 0.4], [Series("", values)], x_label="alpha")
    image = pixels(drawn(chart))
    for x, y in re.findall(r'<circle cx="(\S+)" cy="(\S+)"', chart):
        spot = image[round(SCALE * float(y)), round(SCALE * float(x))]
        assert share_of(spot[None, None], LIGHT["c0"]) == 1


def test_text_is_drawn_too():
    cat, dog = (pixels(drawn(bars(0.5, name))) for name in ("cat", "dog"))
    different = (cat != dog).any(axis=(0, 2))
    assert different.any()
    assert np.flatnonzero(different).max() < SCALE * 112  # the name's column alone


def arguments(reported, out, *more):
    return [
        *("report", "--maps", reported.root / "maps", "--labels", reported.root / "labels"),
        *("--ids", reported.root / "ids.txt", "--calibration", reported.root / "pixel.json"),
        *("--examples", 0, "--out", out, *more),
    ]


def ran(command):
    return main([str(part) for part in command])


def test_other_data_give_other_pictures(reported, tmp_path):
    root = tmp_path / "others"
    shutil.copytree(reported.root / "maps", root / "maps")
    for path in sorted((root / "maps").iterdir())[:4]:
        probs = np.load(path)["probs"]
        np.savez(path, probs=probs[::-1])
    for maps, out in ((reported.root / "maps", "a"), (root / "maps", "b")):
        command = arguments(reported, tmp_path / out)
        command[command.index("--maps") + 1] = maps
        assert ran(command) == 0
    for name in ("coverage_pixels", "coverage_images", "worth", "classes", "confusion"):
        first, second = (pixels((tmp_path / out / "figures" / f"{name}.png").read_bytes())
                         for out in "ab")  # fmt: skip
        assert first.shape != second.shape or (first != second).mean() > 1e-4, name


def test_without_them_when_asked(reported, tmp_path, capsys):
    assert ran(arguments(reported, tmp_path, "--no-png")) == 0
    assert not list(tmp_path.rglob("*.png"))
    assert len(list(tmp_path.rglob("*.svg"))) >= 5
    assert "also as SVG in " in capsys.readouterr().out


def test_without_the_renderer_it_says_so_and_refuses_only_where_asked(
    reported, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    assert ran(arguments(reported, tmp_path / "a", "--png")) == 2
    said = capsys.readouterr().err
    assert "drawing PNG figures needs the package resvg-py, which is not installed" in said
    assert 'pip install "conformal-plugin[cli]"' in said
    assert not (tmp_path / "a").exists()
    assert ran(arguments(reported, tmp_path / "b")) == 0
    done = capsys.readouterr()
    assert "note: the charts are written as SVG alone: drawing PNG figures needs" in done.err
    assert (tmp_path / "b" / "report.html").exists()
    assert not list((tmp_path / "b").rglob("*.png"))


def test_without_a_font_it_says_so(monkeypatch):
    require_renderer()
    real = png._resvg()

    class Fontless:
        @staticmethod
        def svg_to_bytes(**options):
            return real.svg_to_bytes(**options, skip_system_fonts=True)

    monkeypatch.setattr(png, "_resvg", Fontless)
    with pytest.raises(MissingExtraError, match="need a sans-serif font, .* fonts-dejavu-core"):
        require_renderer()
