"""Makes docs/report.png: the report of generated scenes, as Chromium shows it.

    python benchmarks/report_picture.py --out docs/report.png

The scenes and the annotator, which has only ever seen studio shots, are those of `python examples`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

from conformal_plugin._atomic import atomic_open
from conformal_plugin.cli import main as conformal_plugin

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

from demo_data import write_scenes

WIDTH, HEIGHT = 1120, 4600  # higher than the page; what is empty is cut off


def make_report(folder: Path) -> Path:
    """Choose, and report on the calibration; returns the page."""
    data = ["--maps", str(folder / "probs"), "--labels", str(folder / "labels")]
    calibration = str(folder / "calibration.json")
    report = ["--photos", str(folder / "photos"), "--names", str(folder / "names.txt")]
    report += ["--title", "Generated scenes", "--examples", "1", "--out", str(folder / "report")]
    for command in (
        ["choose", *data, "--calibration-out", calibration],
        ["report", *data, "--calibration", calibration, *report],
    ):
        if conformal_plugin(command):
            raise SystemExit(1)
    return folder / "report" / "report.html"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the picture to write")
    parser.add_argument("--scenes", type=int, default=120)
    arguments = parser.parse_args()
    browser = shutil.which("chromium")
    if browser is None:
        raise SystemExit("needs Debian's package chromium")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scenes(folder, arguments.scenes)
        page = make_report(folder)
        subprocess.run(
            [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
            + [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={folder / 'page.png'}"]
            + [page.as_uri()],
            check=True,
            capture_output=True,
        )
        picture = Image.open(folder / "page.png").convert("RGB")
        empty = Image.new("RGB", picture.size, picture.getpixel((0, 0)))
        bottom = ImageChops.difference(picture, empty).getbbox()[3]
        picture = picture.crop((0, 0, WIDTH, bottom + 30))
        with atomic_open(arguments.out) as handle:
            picture.save(handle, "PNG", optimize=True)


if __name__ == "__main__":
    main()
