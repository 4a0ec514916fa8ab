"""The edit in memory: what goes where, what is refused and why, and that undoing is the inverse."""

from __future__ import annotations

import ast
import re
import string
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from conformal_plugin.adapters.patching import (
    Recipe,
    find_traps,
    known_recipes,
    manual_steps,
    marked_lines,
    remove,
    unified,
)
from conformal_plugin.adapters.patching._bindings import loaded_names, parse
from conformal_plugin.adapters.patching._patching import MARKER, patch
from conformal_plugin.adapters.patching._recipe import Insertion

STANDIN = Path(__file__).parent / "standin"
MOST_LINES = 12

RECIPE = Recipe(
    host="Toy",
    script="toy.py",
    imports=("from conformal_plugin.adapters.toy import ToyLoop",),
    insertions=(
        Insertion(
            "trainset_u",
            "after",
            ("conformal = ToyLoop(cfg)", "trainset_u = conformal.align(trainset_u)"),
        ),
        Insertion("loader", "after", ("loader = conformal.watch(loader, epoch)",)),
        Insertion("loss", "before", ("loss_u = conformal(", "    loss_u, pred_u)")),
    ),
    needs=("cfg", "epoch", "loss_u", "pred_u"),
)

SCRIPT = '''"""A toy."""
from os import path
import sys


def main():
    cfg = {"epochs": 2}
    trainset_u = list(
        range(3))
    for epoch in range(cfg["epochs"]):
        loader = zip(trainset_u)  # a comment

        for (pred_u,) in loader:
            loss_u = pred_u
            loss = (1 +
                    loss_u)
            sys.stdout.write(str(loss))


if __name__ == "__main__":
    main()
'''

PATCHED = '''"""A toy."""
from os import path
import sys
from conformal_plugin.adapters.toy import ToyLoop  # conformal-plugin


def main():
    cfg = {"epochs": 2}
    trainset_u = list(
        range(3))
    conformal = ToyLoop(cfg)  # conformal-plugin
    trainset_u = conformal.align(trainset_u)  # conformal-plugin
    for epoch in range(cfg["epochs"]):
        loader = zip(trainset_u)  # a comment
        loader = conformal.watch(loader, epoch)  # conformal-plugin

        for (pred_u,) in loader:
            loss_u = pred_u
            loss_u = conformal(  # conformal-plugin
                loss_u, pred_u)  # conformal-plugin
            loss = (1 +
                    loss_u)
            sys.stdout.write(str(loss))


if __name__ == "__main__":
    main()
'''


def problems(text: str, recipe: Recipe = RECIPE) -> tuple[str, ...]:
    """Why a script is refused; it must be."""
    result = patch(text.encode(), [recipe])
    assert result.after is None
    return result.problems


def patched(text: str, recipe: Recipe = RECIPE) -> str:
    result = patch(text.encode(), [recipe])
    assert result.after is not None, result.problems
    return result.after.decode()


def test_the_lines_go_where_the_recipe_says() -> None:
    assert patched(SCRIPT) == PATCHED


def test_a_patched_script_is_patched_already() -> None:
    result = patch(PATCHED.encode(), [RECIPE])
    assert result.already
    assert result.after == PATCHED.encode()
    assert result.before == SCRIPT.encode()


def test_removing_gives_back_every_byte() -> None:
    removal = remove(PATCHED.encode())
    assert removal.after == SCRIPT.encode()
    assert removal.problem == ""
    assert list(removal.lines) == marked_lines(PATCHED.encode()) == [4, 11, 12, 15, 19, 20]
    assert remove(SCRIPT.encode()) == type(removal)(SCRIPT.encode(), ())


def test_the_marker_is_a_comment_behind_code() -> None:
    for own in (
        "# conformal-plugin\n",
        "    # conformal-plugin\n",
        "help = '''\n    x = conformal(x)  # conformal-plugin\n'''\n",
        "print(f'''{1}  # conformal-plugin\n''')\n",
        "print('x')  # conformal-plugins\n",
        "print('x  # conformal-plugin')\n",
    ):
        assert marked_lines(own.encode()) == []
        assert remove((own + PATCHED).encode()).after == (own + SCRIPT).encode()
    assert marked_lines(b"x = f(  # conformal-plugin \r\n  1)\t#conformal-plugin") == [1, 2]


def test_removing_keeps_what_was_edited_since() -> None:
    edited = PATCHED.replace("range(3)", "range(30)").replace("# a comment", "# another")
    removal = remove(edited.encode())
    assert removal.problem == ""
    assert removal.after.decode() == SCRIPT.replace("range(3)", "range(30)").replace(
        "# a comment", "# another"
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "            loss_u = pred_u\n",
            "            loss_u = pred_u\n            loss = 0\n",
            "`loss` is assigned 2 times in main(): on lines 15 and 16",
        ),
        ("loader = zip", "batches = zip", "`loader` is assigned nowhere in main()"),
        ("loader = zip(trainset_u)", "loader = 1; loader = 2", "is assigned 2 times in main(): on"),
        (
            "loader = zip(trainset_u)  #",
            "other = 1; loader = zip(trainset_u)  #",
            "the statement that assigns `loader` shares line 11 with another",
        ),
        (
            "        loader = zip(trainset_u)  #",
            "        if epoch: loader = zip(trainset_u)  #",
            "the statement that assigns `loader` shares line 11 with another",
        ),
        ("loss_u = pred_u", "loss_v = pred_u", "`loss_u` is bound nowhere in it"),
        ("cfg", "config", "`cfg` is bound nowhere in it"),
        ("        loader = zip(trainset_u)", "        with zip(trainset_u) as loader: 0",
         "`loader` is bound on line 11, but not by an assignment"),
        ("            loss_u = pred_u\n            loss =", "            loss_u = loss =",
         "`loss_u` has no value yet on line 14"),
        ("    cfg =", "    conformal = 1\n    cfg =", "`conformal` is in use already, on line 7"),
        ("import sys\n", "import sys\nfrom conformal_plugin import TwoStage\n",
         "it imports conformal_plugin by hand (line 4)"),
        ("import sys\n", "import sys\nimport conformal_plugin.adapters\n",
         "it imports conformal_plugin by hand (line 4)"),
        ("from os import path\nimport sys\n", "", "no import was found at top level"),
        ("def main():", "def main(:", "it is not valid Python on line 6"),
        ("    cfg =", "    \0cfg =", "it is not valid Python"),
        ("    for epoch", "    def inner():\n        nonlocal loader\n    for epoch",
         "`loader` is assigned 2 times in main()"),
        ("            sys.stdout", "            loss += 1\n            sys.stdout",
         "`loss` is assigned 2 times in main()"),
        ("import sys\n", "import sys; from os import sep\n",
         "the last import at top level shares line 3 with another"),
    ],
)  # fmt: skip
def test_a_script_that_differs_is_refused_with_the_reason(old, new, expected) -> None:
    assert old in SCRIPT
    found = problems(SCRIPT.replace(old, new))
    assert any(expected in problem for problem in found), found


def test_deleting_a_variable_gives_it_no_value() -> None:
    text = SCRIPT.replace("            sys.stdout", "            del loss\n            sys.stdout")
    assert patched(text).count(MARKER) == 6


def test_a_copy_of_the_loop_is_ambiguous() -> None:
    """The second function holds every anchor too, and being the first is no reason to be taken."""
    copied = (
        SCRIPT.replace("def main():", "def debug():").split("if __name__")[0].split("\n\n\n")[1]
    )
    found = problems(SCRIPT.replace("\n\nif __name__", f"\n\n{copied}\n\n\nif __name__"))
    assert any("main() and debug() assign the same variables" in problem for problem in found), (
        found
    )


def test_where_nothing_is_found_main_is_what_is_spoken_of() -> None:
    found = problems("import sys\n\n\ndef first():\n    pass\n\n\ndef main():\n    pass\n")
    assert "`trainset_u` is assigned nowhere in main()" in found
    assert "`cfg` is bound nowhere in it" in found
    assert "`loader` is assigned nowhere in the script" in problems("import sys\n")


def test_manual_steps_name_places_and_lines() -> None:
    result = patch(SCRIPT.replace("loader = zip", "batches = zip").encode(), [RECIPE])
    assert manual_steps(result, "toy.py") == (
        """toy.py was not changed (Toy's toy.py):
  - `loader` is assigned nowhere in main()
by hand:
  after the last import at top level, line 3, add at its indentation:
      from conformal_plugin.adapters.toy import ToyLoop  # conformal-plugin
  after the statement that assigns `trainset_u`, lines 8 to 9, add at its indentation:
      conformal = ToyLoop(cfg)  # conformal-plugin
      trainset_u = conformal.align(trainset_u)  # conformal-plugin
  after the statement that assigns `loader`, add at its indentation:
      loader = conformal.watch(loader, epoch)  # conformal-plugin
  before the statement that assigns `loss`, lines 15 to 16, add at its indentation:
      loss_u = conformal(  # conformal-plugin
          loss_u, pred_u)  # conformal-plugin
"""
    )


def test_lines_that_were_put_in_by_hand_as_printed_count_as_patched() -> None:
    """Who follows the manual steps, markers and all, can use --undo later."""
    by_hand = PATCHED.replace("loss_u, pred_u)  #", "loss_u,  pred_u)   #")
    assert remove(by_hand.encode()).after == SCRIPT.encode()


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["kept", "cut"])
def test_line_endings_are_kept(ending, last) -> None:
    text = SCRIPT if last == "kept" else SCRIPT.rstrip("\n")
    source = text.replace("\n", ending).encode()
    result = patch(source, [RECIPE])
    assert result.after is not None
    endings = re.findall(rb"\r\n|\r|\n", result.after)
    assert set(endings) == {ending.encode()}
    assert remove(result.after).after == source


def test_a_script_that_ends_with_an_anchor_and_no_newline() -> None:
    recipe = Recipe("Toy", "t.py", ("import toy",), (Insertion("a", "after", ("b = a",)),), ("a",))
    result = patch(b"import os\na = 1", [recipe])
    assert result.after == b"import os\nimport toy  # conformal-plugin\na = 1\nb = a" + (
        MARKER.encode()
    )
    assert remove(result.after).after == b"import os\na = 1"
    assert unified(result.before, result.after, "t.py").count("\\ No newline at end of file") == 2


def test_tabs_are_kept() -> None:
    tabbed = SCRIPT.replace("    ", "\t")
    after = patched(tabbed)
    assert after == PATCHED.replace("    ", "\t")
    assert remove(after.encode()).after == tabbed.encode()


@pytest.mark.parametrize(
    ("head", "encoding"),
    [("\ufeff", "utf-8"), ("# -*- coding: latin-1 -*-\n", "latin-1"), ("", "utf-8")],
)
def test_bytes_of_any_encoding_are_kept(head, encoding) -> None:
    text = head + SCRIPT.replace("A toy.", "Ein Spielzeug für später.")
    text = text.replace("cfg =", "größe = 'ä'; cfg =")
    result = patch(text.encode(encoding), [RECIPE])
    assert result.after is not None, result.problems
    assert result.after.decode(encoding) == head + PATCHED.replace(
        "A toy.", "Ein Spielzeug für später."
    ).replace("cfg =", "größe = 'ä'; cfg =")
    assert remove(result.after).after == text.encode(encoding)
    assert "später" in unified(result.before, result.after, "toy.py")


def test_scripts_without_main_and_with_decorators() -> None:
    body = SCRIPT.split("def main():\n")[1].split("\n\nif __name__")[0]
    flat = "import sys\n" + "\n".join(line[4:] for line in body.splitlines()) + "\nimport late\n"
    after = patched(flat)
    # The import must have run when the loop begins: after the first import, not after the last.
    assert after.startswith("import sys\nfrom conformal_plugin.adapters.toy import ToyLoop")
    assert remove(after.encode()).after == flat.encode()

    decorated = SCRIPT.replace("def main():", "@print\n@print\nasync def train(cfg=1):")
    assert patched(decorated) == PATCHED.replace(
        "def main():", "@print\n@print\nasync def train(cfg=1):"
    )


def test_a_method_and_a_nested_function_hold_the_loop() -> None:
    indented = "\n".join(f"    {line}" if line else "" for line in SCRIPT.splitlines()[5:18])
    for head in ("class Trainer:", "def outer():"):
        text = f"import sys\n\n{head}\n{indented}\n"
        after = patched(text)
        assert (
            "\n            loader = conformal.watch(loader, epoch)  # conformal-plugin\n" in after
        )
        assert remove(after.encode()).after == text.encode()


def test_bindings_of_other_scopes_do_not_count() -> None:
    text = SCRIPT.replace(
        "    cfg =",
        "    def helper(loss):\n        loader = loss\n        return [loss for loss in loader]\n"
        "    key = lambda loader: loader\n    cfg =",
    ).replace("def main():", "loss = 3\n\n\ndef main():")
    assert patched(text).count(MARKER) == 6


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    loss_u, pred_u)  # conformal-plugin", "    loss_u, pred_u, 2)  # conformal-plugin"),
        ("    trainset_u = conformal.align(trainset_u)  # conformal-plugin\n", ""),
    ],
)
def test_inserted_lines_that_were_edited_are_not_overwritten(old, new) -> None:
    assert old in PATCHED
    found = problems(PATCHED.replace(old, new))
    assert len(found) == 1
    assert "are not those of this release, or were edited" in found[0]
    assert "--undo" in found[0]
    assert remove(PATCHED.replace(old, new).encode()).after == SCRIPT.encode()


def test_half_patched_by_hand() -> None:
    """Some lines lost their marker: neither applying nor undoing may guess."""
    lost = PATCHED.replace(
        "conformal = ToyLoop(cfg)  # conformal-plugin", "conformal = ToyLoop(cfg)"
    )
    removal = remove(lost.encode())
    assert "`ToyLoop` would be used on line 10 and bound nowhere" in removal.problem
    found = problems(lost)
    assert "the inserted lines were edited" in found[0]


def test_a_formatter_that_spreads_an_inserted_statement_is_noticed() -> None:
    spread = PATCHED.replace(
        "                loss_u, pred_u)  # conformal-plugin",
        "                loss_u,\n                pred_u,\n            )  # conformal-plugin",
    )
    problem = remove(spread.encode()).problem
    assert "without the marked lines it would not be valid Python" in problem


def test_a_script_that_does_not_parse_can_still_be_undone() -> None:
    broken = PATCHED.replace("range(3))", "range(3)")
    removal = remove(broken.encode())
    assert removal.problem == ""
    assert removal.after.decode() == SCRIPT.replace("range(3))", "range(3)")


def test_the_recipe_is_chosen_by_what_the_script_binds() -> None:
    other = Recipe(
        "Other", "toy.py", RECIPE.imports, RECIPE.insertions, (*RECIPE.needs, "model_ema")
    )
    mine = Recipe(
        "Mine", "toy.py", RECIPE.imports, RECIPE.insertions, RECIPE.needs, lacks=("model_ema",)
    )
    assert patch(SCRIPT.encode(), [other, mine]).recipe.host == "Mine"
    teacher = SCRIPT.replace("    cfg =", "    model_ema = 1\n    cfg =").encode()
    assert patch(teacher, [mine, other]).recipe.host == "Other"
    both = patch(SCRIPT.encode(), [mine, RECIPE])
    assert both.problems == ("it fits the recipes of Mine and Toy alike",)
    lacking = patch(teacher, [mine])
    assert lacking.problems == ("`model_ema` is bound on line 7, and Mine's script has none",)


# Every recipe of the package.

RECIPES = known_recipes()
NAMES = [f"{recipe.host}/{recipe.script}" for recipe in RECIPES]
FOLDERS = {
    "UniMatch": "unimatch",
    "UniMatch-V2": "unimatch_v2",
    "CorrMatch": "corrmatch",
    "AllSpark": "allspark",
}


def standin(recipe: Recipe) -> bytes:
    return (STANDIN / FOLDERS[recipe.host] / recipe.script).read_bytes()


def test_every_host_of_the_documentation_has_recipes() -> None:
    assert set(NAMES) == {
        "UniMatch/fixmatch.py",
        "UniMatch/unimatch.py",
        "UniMatch-V2/fixmatch.py",
        "UniMatch-V2/unimatch_v2.py",
        "CorrMatch/corrmatch.py",
        "AllSpark/train_baseline_semi.py",
        "AllSpark/train_allspark.py",
    }
    assert len(NAMES) == 7


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_a_recipe_is_small_and_says_all_it_needs(recipe: Recipe) -> None:
    lines = [*recipe.imports, *(line for one in recipe.insertions for line in one.lines)]
    assert len(lines) <= MOST_LINES
    assert all(len(line) < 100 and line.isascii() and "\\" not in line for line in lines)
    for one in (recipe.imports, *(one.lines for one in recipe.insertions)):
        ast.parse("\n".join(one))
    bound = {name for line in recipe.imports for name in line.split()[-1:]} | {"conformal"}
    anchors = {one.anchor for one in recipe.insertions}
    loaded = loaded_names(parse("\n".join(lines)))
    assert loaded.keys() <= bound | anchors | {*recipe.needs}
    assert len({(one.anchor, one.where) for one in recipe.insertions}) == len(recipe.insertions)


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_a_recipe_patches_its_stand_in_and_no_other_host(recipe: Recipe, tmp_path: Path) -> None:
    source = standin(recipe)
    named = [other for other in RECIPES if other.script == recipe.script]
    result = patch(source, named)
    assert result.recipe == recipe
    assert result.after is not None, result.problems
    changed = [
        line
        for line in unified(source, result.after, recipe.script).splitlines()[2:]
        if line[0] in "+-"
    ]
    assert len(changed) == result.added <= MOST_LINES
    assert all(line[0] == "+" for line in changed)
    assert remove(result.after).after == source
    others = [other for other in RECIPES if other.host != recipe.host]
    assert patch(source, others).after is None
    # The whole list finds it too, for scripts with a name of their own.
    assert patch(source, RECIPES).recipe.host == recipe.host

    script = tmp_path / recipe.script
    script.write_bytes(source)
    diff = unified(source, result.after, recipe.script)
    applied = subprocess.run(["git", "apply", "-"], input=diff.encode(), cwd=tmp_path, check=False)
    assert applied.returncode == 0
    assert script.read_bytes() == result.after


def test_a_trap_with_a_named_group_depends_on_the_config() -> None:
    recipe = Recipe(
        "Toy", "toy.py", (), (), (), traps=((r"nclass=(?P<nclass>\d+)", "A"), (r"dist\(", "B"))
    )
    source = b"a = f(nclass=21)\n# nclass=5\n  dist(1)\n"
    assert [(t.line, t.advice, t.sure) for t in find_traps(recipe, source, {"nclass": 21})] == [
        (3, "B", False)
    ]
    assert [(t.line, t.text, t.sure) for t in find_traps(recipe, source, {"nclass": 19})] == [
        (1, "a = f(nclass=21)", True),
        (3, "dist(1)", False),
    ]
    assert [t.sure for t in find_traps(recipe, source, {})] == [False, False]


def test_the_traps_of_corrmatch_are_found_in_its_stand_in() -> None:
    recipe = next(recipe for recipe in RECIPES if recipe.host == "CorrMatch")
    found = find_traps(recipe, standin(recipe), {"nclass": 4})
    assert any(trap.sure and "nclass" in trap.text for trap in found)
    same = find_traps(recipe, standin(recipe), {"nclass": 21})
    assert len(same) == len(found) - 1


# Random scripts.

WORDS = st.text(string.ascii_lowercase, min_size=1, max_size=8).map(lambda word: f"x_{word}")
FILLERS = st.one_of(
    st.just(""),
    st.just("# conformal-plugins are nice"),
    st.just("print('# conformal-plugin', 1)"),
    st.just("# conformal-plugin"),
    st.just("print('''x # conformal-plugin\n # conformal-plugin''')"),
    WORDS.map(lambda word: f"{word} = 1  # größer"),
    WORDS.map(lambda word: f"{word} = [\n1,\n      2]"),
    WORDS.map(lambda word: f"if True:\n  {word} = '''\n# text'''"),
)


@given(
    fillers=st.lists(FILLERS, min_size=7, max_size=7),
    indent=st.sampled_from(["    ", "  ", "\t", "        "]),
    ending=st.sampled_from(["\n", "\r\n"]),
    head=st.sampled_from(["", "\ufeff", "# coding: utf-8\n"]),
    cut=st.booleans(),
)
def test_apply_then_undo_is_the_identity(fillers, indent, ending, head, cut) -> None:
    spots = iter(fillers)

    def filled(depth: int) -> str:
        return "".join(f"{indent * depth}{line}\n" for line in next(spots).split("\n"))

    text = (
        f"{head}import sys\n{filled(0)}def main():\n{indent}cfg = {{'epochs': 1}}\n{filled(1)}"
        f"{indent}trainset_u = [2]\n{filled(1)}{indent}for epoch in [0]:\n"
        f"{indent * 2}loader = zip(trainset_u)\n{filled(2)}{indent * 2}for (pred_u,) in loader:\n"
        f"{filled(3)}{indent * 3}loss_u = pred_u\n{filled(3)}{indent * 3}loss = loss_u\n"
        f"{filled(0)}main()\n"
    )
    source = (text.rstrip("\n") if cut else text).replace("\n", ending).encode()
    result = patch(source, [RECIPE])
    assert result.after is not None, result.problems
    assert len(result.after.splitlines()) == len(source.splitlines()) + 6
    assert remove(result.after).after == source
    again = patch(result.after, [RECIPE])
    assert again.already
    assert again.after == result.after
