"""docs/doctor.md names every check and no other, and its command can be typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from conformal_plugin.cli._arguments import build_parser
from conformal_plugin.doctor import all_checks


def test_the_page_lists_every_check_in_order(root: Path) -> None:
    page = (root / "docs" / "doctor.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", page, re.M)[2:]
    listed = [name for cell in cells for name in cell.split(", ")]
    assert listed == [one.__name__.replace("_", " ") for one in all_checks()]
    (command,) = re.findall(r"```bash\n(.*?)```", page, re.S)
    words = shlex.split(command.replace("\\\n", " "))
    assert build_parser().parse_args(words[1:]).command == "doctor"
