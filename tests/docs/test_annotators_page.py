"""The snippets of docs/annotators.md run; its commands are ones that can be typed."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from conformal_plugin.annotators import class_list, read_synonyms
from conformal_plugin.cli._arguments import build_parser

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "annotators.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SHELL = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
JSON = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_snippets(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(PYTHON[number], f"snippet {number}", "exec"), {"__name__": "snippet"})
    printed = capsys.readouterr().out.splitlines()
    expected = re.findall(r"print\(.*\)  # (.*)$", PYTHON[number], re.MULTILINE)
    assert expected
    assert set(expected) <= set(printed)


def test_commands_parse() -> None:
    """They need weights and photos that are not here; the suite runs each kind on tiny models."""
    commands = [
        shlex.split(line[line.index("conformal-plugin ") :])[1:]
        for block in SHELL
        for line in block.replace("\\\n", " ").splitlines()
        if "conformal-plugin " in line
    ]
    parsed = [build_parser().parse_args(command) for command in commands]
    assert [arguments.command for arguments in parsed].count("annotate") == 6
    kinds = {arguments.annotator for arguments in parsed if arguments.command == "annotate"}
    assert kinds == {"transformers", "grounded-sam", "seem", "xdecoder"}


def test_tables_and_class_lists_are_read(tmp_path: Path) -> None:
    assert len(JSON) == 3
    for number, text in enumerate(JSON):
        (tmp_path / f"{number}.json").write_text(text)
    assert read_synonyms(tmp_path / "0.json") == json.loads(JSON[0])
    assert class_list(tmp_path / "1.json").prompts[1] == ("cat", "kitten", "a photo of a cat")
    assert class_list(tmp_path / "2.json").prompts[0][:2] == ("wall", "sky")
