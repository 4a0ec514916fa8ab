"""The snippets of docs/annotators.md run; its commands are ones that can be typed."""

from __future__ import annotations

import json
import logging
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_models import MAKERS

from conformal_plugin.annotators import class_list, read_synonyms
from conformal_plugin.cli._arguments import build_parser

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "annotators.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
RunScript = Callable[..., dict[str, Any]]
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
    assert [arguments.command for arguments in parsed].count("annotate") == 7
    kinds = {arguments.annotator for arguments in parsed if arguments.command == "annotate"}
    assert kinds == {"transformers", "grounded-sam", "seem", "xdecoder", "mymodel:scores"}


TABLE = ROOT / "benchmarks" / "annotators.py"
FIGURE = r"(\d[\de.-]*)"
FIGURES = re.compile(rf"^\| (.+?) \| (.*[a-z].*) \| {FIGURE} \| {FIGURE} \|$", re.MULTILINE)


def test_the_table_has_every_annotator(run_script: RunScript) -> None:
    kinds = run_script(TABLE, run_name="table")["KINDS"]
    told = [(name, against) for name, against, *_ in FIGURES.findall(PAGE)]
    own = [("SEEM", "`sem_seg`"), ("X-Decoder", "`sem_seg`")]
    assert told == [(kind.name, kind.against) for kind in kinds] + own
    parts = {part for kind in kinds for part in kind.parts}
    assert parts == set(MAKERS)  # what the suite makes tiny models of


def test_the_table_is_made_by_its_command(
    run_script: RunScript, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers")
    if int(transformers.__version__.split(".")[0]) < 5:
        pytest.skip(f"transformers {transformers.__version__} gives no scores")
    monkeypatch.setattr(logging.root.manager, "disable", logging.root.manager.disable)
    run_script(TABLE, "--only", "segformer", "mask2former", "clipseg", "seem_model_v1")
    made = {name: figures for name, _, *figures in FIGURES.findall(capsys.readouterr().out)}
    assert made.keys() == {"Mask2Former", "SegFormer", "CLIPSeg", "SEEM"}
    told = {name: figures for name, _, *figures in FIGURES.findall(PAGE)}
    for name, figures in made.items():
        for found, said in zip(figures, told[name], strict=True):
            assert float(found) <= max(3 * float(said), 1e-5), name


def test_tables_and_class_lists_are_read(tmp_path: Path) -> None:
    assert len(JSON) == 3
    for number, text in enumerate(JSON):
        (tmp_path / f"{number}.json").write_text(text)
    assert read_synonyms(tmp_path / "0.json") == json.loads(JSON[0])
    assert class_list(tmp_path / "1.json").prompts[1] == ("cat", "kitten", "a photo of a cat")
    assert class_list(tmp_path / "2.json").prompts[0][:2] == ("wall", "sky")
