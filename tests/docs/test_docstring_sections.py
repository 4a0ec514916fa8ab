"""What a docstring says of parameters, fields, results and errors is what there is, by pydoclint.

A section may be left out: where a name says it all, a docstring is one sentence. What is written
has to be whole and true.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pydoclint = pytest.importorskip("pydoclint.visitor", reason="needs pydoclint, of the extra test")

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    path for folder in ("conformal_plugin", "adapters") for path in (ROOT / folder).rglob("*.py")
)
# What is only wrong where a docstring has this section.
SECTION = {"DOC101": "Args:", "DOC103": "Args:", "DOC601": "Attributes:", "DOC603": "Attributes:"}
NOT_ASKED = {
    *("DOC104", "DOC604"),  # order: names that one text serves stand together
    *("DOC105", "DOC106", "DOC107", "DOC605"),  # types: they are in signatures, for mypy
    *("DOC201", "DOC402", "DOC404"),  # results: their type and the first sentence often say it
    *("DOC502", "DOC503"),  # errors: most are raised by what a function calls
    *("DOC602", "DOC606"),  # attributes set in __init__, and those described where they are set
}
SHARED = re.compile(r"^( +)((?:\w+, )+)(?=\w+: )", re.MULTILINE)


def one_name_a_line(docstring: str) -> str:
    """``first, second: text`` is a habit of this project that pydoclint does not know."""

    def apart(shared: re.Match[str]) -> str:
        names = re.findall(r"\w+", shared[2])
        return "".join(f"{shared[1]}{name}: as below\n" for name in names) + shared[1]

    return SHARED.sub(apart, docstring)


def disagreements(source: str) -> list[str]:
    """What docstrings say that their code does not."""
    tree = ast.parse(source)
    fields: dict[int, bool] = {}
    said: dict[int, str] = {}
    for node in ast.walk(tree):
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or not ast.get_docstring(node):
            continue
        decorators = " ".join(map(ast.unparse, node.decorator_list))
        (docstring,) = ast.walk(node.body[0].value)
        docstring.value = said[node.lineno] = one_name_a_line(docstring.value)
        if isinstance(node, ast.ClassDef):
            fields[node.lineno] = "dataclass" in decorators
            for method in node.body:  # pydoclint reports there what a class says of parameters
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    said[method.lineno] = docstring.value
        elif "composite" in decorators:
            del node.args.args[0]  # hypothesis passes `draw`
    visitor = pydoclint.Visitor(
        style="google", argTypeHintsInDocstring=False, checkReturnTypes=False
    )
    visitor.visit(tree)
    return [
        str(one)
        for one in visitor.violations
        if one.fullErrorCode not in NOT_ASKED
        and SECTION.get(one.fullErrorCode, "") in said[one.line]
        and fields.get(one.line, True)
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_sections_fit_the_code(path: Path) -> None:
    assert disagreements(path.read_text(encoding="utf-8")) == []


def test_what_does_not_fit_is_said() -> None:
    source = '''
def add(first: int, second: int, third: int) -> int:
    """Add.

    Args:
        first, second: summands,
            of one kind.
        last: none such.

    Raises:
        ValueError, TypeError: not numbers.
    """
    return first + second + third
'''
    wrong = " ".join(disagreements(source))
    assert "in the function signature but not in the docstring: [third: int]" in wrong
    assert "in the docstring but not in the function signature: [last: ]" in wrong
    assert disagreements(source.replace("last: none such", "third: the last")) == []
    assert disagreements('def add(first: int) -> int:\n    """Add."""\n    return first\n') == []
    unreadable = (
        '"""Add."""\ndef add(a: int) -> None:\n    """Add.\n\n    Args:\n        it\n    """\n'
    )
    assert "formatting errors" in disagreements(unreadable)[0]
    record = '''
@dataclass
class Point:
    """A place.

    Attributes:
        x: to the right.
    """

    x: int
    y: int
'''
    assert "[y: int]" in " ".join(disagreements(record))
