"""The snippet of docs/performance.md runs, and its commands can be typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from conformal_plugin.cli._arguments import build_parser

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_snippet_runs() -> None:
    (snippet,) = blocks("python")
    exec(compile(snippet, "snippet", "exec"), {"__name__": "snippet"})


def test_commands_parse() -> None:
    commands = [
        shlex.split(line[line.index("conformal-plugin ") :])[1:]
        for block in blocks("bash")
        for line in block.replace("\\\n", " ").splitlines()
        if "conformal-plugin " in line
    ]
    parsed = [build_parser().parse_args(command).command for command in commands]
    assert parsed == ["calibrate", "filter"]
