"""A host's YAML: plain values alone, and no more of them than a file can mean."""

from __future__ import annotations

from typing import Any, Final

from conformal_plugin._extras import optional

__all__ = ["plain_values"]

MOST_VALUES: Final = 100_000
"""Values of a config when all its aliases are written out; the largest of the known hosts has 40.
Five hundred bytes of aliases of aliases stand for hundreds of millions."""


def plain_values(text: str) -> Any:
    """What a YAML document holds; never objects.

    Raises:
        ValueError: no YAML, or more than ``MOST_VALUES`` values; says what.
        MissingExtraError: PyYAML is not installed.
    """
    yaml = optional("yaml", "PyYAML", "reading a host's config")

    class Bounded(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        """Counts what each alias stands for."""

        def __init__(self, stream: str) -> None:
            super().__init__(stream)
            self._sizes: dict[int, int] = {}

        def compose_node(self, parent: Any, index: Any) -> Any:
            alias = self.check_event(yaml.AliasEvent)
            node = super().compose_node(parent, index)
            if not alias:
                self._sizes[id(node)] = self._size(node)
            elif id(node) not in self._sizes:
                raise ValueError("it holds a value inside itself")
            return node

        def _size(self, node: Any) -> int:
            inner = [] if isinstance(node, yaml.ScalarNode) else node.value
            flat = [one for item in inner for one in (item if isinstance(item, tuple) else (item,))]
            size = 1 + sum(self._sizes[id(one)] for one in flat)
            if size > MOST_VALUES:
                raise ValueError(f"its aliases stand for more than {MOST_VALUES} values")
            return size

    try:
        return yaml.load(text, Loader=Bounded)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except Exception as error:  # dates that do not exist, deep nesting, tags with other content
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error
