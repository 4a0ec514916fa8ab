"""A directive that prints an argparse command's help, and each subcommand's below a heading.

```{command-help} package.module:function_that_makes_the_parser
```
"""

from __future__ import annotations

import argparse
import os
import pkgutil
from unittest import mock

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

COLUMNS = "86"  # that a page shows without scrolling


class CommandHelp(SphinxDirective):
    """Its argument is the function that returns the parser."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The help as it is printed, on a page that changes when the parser's module does."""
        parser: argparse.ArgumentParser = pkgutil.resolve_name(self.arguments[0])()
        with mock.patch.dict(os.environ, COLUMNS=COLUMNS, NO_COLOR="1"):
            printed: list[nodes.Node] = [_block(parser)]
            for action in parser._actions:
                if isinstance(action, argparse._SubParsersAction):
                    printed += [self._section(name, one) for name, one in action.choices.items()]
        return printed

    def _section(self, name: str, parser: argparse.ArgumentParser) -> nodes.section:
        section = nodes.section("", nodes.title(name, name), _block(parser), names=[name])
        self.state.document.note_implicit_target(section)
        return section


def _block(parser: argparse.ArgumentParser) -> nodes.literal_block:
    text = parser.format_help()
    return nodes.literal_block(text, text, language="text")


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
