"""What the host study has found: tables, one of all studies, CSV and curves."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import host_table
import pytest
from host_table import COLUMNS, Line, overview, read_csv, table, write_csv

SVG = "{http://www.w3.org/2000/svg}"


def lines(bed: str, row: str, *runs: tuple[float, ...]) -> list[Line]:
    """A run for each tuple of values, one an epoch."""
    return [
        Line(bed, 24, "as-is", "fixmatch.py", "all", row, seed, epoch, miou, None, 12.5)
        for seed, run in enumerate(runs)
        for epoch, miou in enumerate(run)
    ]


FIRST = [
    *lines("first", "host", (10.0, 20.0, 30.0), (10.0, 22.0, 34.0)),
    *lines("first", "default", (20.0, 30.0, 40.0), (20.0, 30.0, 46.0)),
    *lines("first", "ceiling", (20.0, 40.0, 50.0)),
    *lines("first", "raw", (5.0, 6.0, 7.0)),
]
SECOND = [*lines("second", "host", (1.0, 2.0, 3.0)), *lines("second", "default", (2.0, 3.0, 3.5))]


def test_the_difference_is_taken_seed_by_seed() -> None:
    *rows, empty, caption, caution = table(FIRST, last=2).splitlines()[2:]
    assert rows == [
        "| the host alone | 2 | 26.5 ± 2.1 | - |",
        "| + conformal labels | 2 | 36.5 ± 2.1 | +10.0 ± 0.0 |",
        "| + true masks | 1 | 45.0 | +20.0 |",
        "| + raw labels | 1 | 6.5 | -18.5 |",
    ]
    assert not empty
    assert caption.startswith("mIoU in percent over all classes of the test photos, mean over the ")
    assert caution.startswith("One seed shows nothing")
    both = [*lines("first", "host", (1.0,), (2.0,)), *lines("first", "default", (1.0,), (2.0,))]
    assert table(both, last=1).endswith("differences seed by seed.")


def test_labels_only_are_those_with_as_many_steps_where_they_are_there() -> None:
    short, long = lines("first", "supervised", (9.0,)), lines("first", "supervised-as-long", (7.0,))
    assert "| 2 | 9.0 | 32.0" in overview([*FIRST, *short], last=1)
    assert "| 2 | 7.0 | 32.0" in overview([*FIRST, *short, *long], last=1)
    titles = {
        name: [(curve.title, curve.number) for curve in curves]
        for name, curves in host_table.panels([*FIRST, *short, *long]).items()
    }
    assert titles["first, 24, as-is, fixmatch.py"] == [
        ("labels only, as many steps as the host", 0),
        ("the host alone", 1),
        ("+ conformal labels", 2),
        ("+ true masks", 3),
    ]


def test_a_row_for_each_study_with_the_plug_in() -> None:
    without = lines("third", "host", (1.0,))
    assert overview([*FIRST, *SECOND, *without], last=1).splitlines()[2:] == [
        "| first, 24, as-is, fixmatch.py | 2 | - | 32.0 ± 2.8 | 43.0 ± 4.2 | +11.0 ± 1.4 | 50.0 |",
        "| second, 24, as-is, fixmatch.py | 1 | - | 3.0 | 3.5 | +0.5 | - |",
    ]


def test_the_command_puts_all_studies_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, some in {"a": FIRST, "b": SECOND}.items():
        (tmp_path / "out" / name).mkdir(parents=True)
        write_csv(some, tmp_path / "out" / name / "results.csv")
    csv, figure = tmp_path / "all.csv", tmp_path / "all.svg"
    given = [str(tmp_path / "out"), f"--csv={csv}", f"--figure={figure}"]
    assert host_table.main(given) == 0
    said = capsys.readouterr().out
    assert said.startswith("first, 24, as-is, fixmatch.py\n\n| | seeds | mIoU, last 2 epochs |")
    assert said.endswith(overview([*FIRST, *SECOND], last=2) + "\n")
    assert csv.read_text("utf-8").startswith(",".join(COLUMNS) + "\nfirst,24,")
    assert [line.miou for line in read_csv(csv)] == [line.miou for line in [*FIRST, *SECOND]]
    picture = ElementTree.parse(figure).getroot()
    words = {"".join(text.itertext()) for text in picture.iter(f"{SVG}text")}
    assert {"the host alone", "+ conformal labels", "second, 24, as-is, fixmatch.py"} <= words
    assert "+ raw labels" not in words
    curves = [one.attrib["points"].split() for one in picture.iter(f"{SVG}polyline")]
    assert [len(points) for points in curves] == [3] * 5
    heights = [float(point.split(",")[1]) for point in curves[0]]
    assert heights == sorted(heights, reverse=True)


def test_a_folder_without_results_is_said_to_be_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        host_table.main([str(tmp_path)])
    assert "expected folders of host_study.py with a results.csv in each" in capsys.readouterr().err
