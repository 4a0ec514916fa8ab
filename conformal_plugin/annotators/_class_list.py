"""Classes in the order of their indices, and the words that a model is asked for them in."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conformal_plugin._atomic import atomic_write_text
from conformal_plugin.errors import OptionError

__all__ = ["ClassList"]


@dataclass(frozen=True)
class ClassList:
    """Classes in the order of their indices, each with one prompt or more.

    Attributes:
        class_names: what the classes are called, ``"background"`` first where there is one.
        prompts: per class the words that a model is asked for; the scores of several prompts of
            one class are joined.
    """

    class_names: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, classes: Mapping[str, Sequence[str]]) -> ClassList:
        """From names to prompts; no prompt means the name itself."""
        return cls(tuple(classes), tuple(tuple(p) or (name,) for name, p in classes.items()))

    @property
    def has_background(self) -> bool:
        """Whether class 0 is background."""
        return self.class_names[0] == "background"

    def asked(self, rule: str) -> ClassList:
        """The classes that a model is asked for under a background rule.

        Raises:
            OptionError: a rule that makes or leaves out a background that the list has not or has.
        """
        if self.has_background == (rule == "none"):
            has = "has" if self.has_background else "has no"
            fitting = "prompt or complement" if self.has_background else "none"
            raise OptionError(
                f"the class list {has} class named background (as its first), and the background "
                f"rule is {rule!r}; choose {fitting}, or another class list"
            )
        if rule == "complement":
            if len(self.class_names) == 1:
                raise OptionError("the class list holds background alone; add a class to look for")
            return ClassList(self.class_names[1:], self.prompts[1:])
        return self

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the list as the JSON file that :func:`class_list` reads, to edit its words.

        Args:
            path: the file, whose name ends in ``.json``.

        Raises:
            OptionError: its name ends otherwise, so that it would be read as a list of names.
        """
        if not os.fspath(path).endswith(".json"):
            raise OptionError(
                f"a class list with its words is JSON; {os.fspath(path)} must end in .json"
            )
        lines = ",\n".join(
            f"  {json.dumps(name, ensure_ascii=False)}: {json.dumps(words, ensure_ascii=False)}"
            for name, words in zip(self.class_names, self.prompts)
        )
        atomic_write_text(path, f"{{\n{lines}\n}}\n")
