"""The examples in docstrings do what they say."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil

import pytest

import conformal_plugin
import conformal_plugin.adapters

MODULES = sorted(
    {
        module.name
        for package in (conformal_plugin, conformal_plugin.adapters)
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
        # What Numba compiles cannot be imported without it.
        if ".compiled._" not in module.name or importlib.util.find_spec("numba")
    }
)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} does not say its reason to exist"
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


def test_public_names_have_docstrings_and_exist() -> None:
    for name in conformal_plugin.__all__:
        value = getattr(conformal_plugin, name)
        assert name == "__version__" or value.__doc__
    assert set(conformal_plugin.__all__) <= set(dir(conformal_plugin))
    with pytest.raises(AttributeError, match="has no attribute 'calibrat'"):
        conformal_plugin.calibrat  # noqa: B018


def test_examples_in_the_core_are_found() -> None:
    found = sum(
        len(doctest.DocTestFinder().find(importlib.import_module(name))[0].examples) > 0
        or any(t.examples for t in doctest.DocTestFinder().find(importlib.import_module(name)))
        for name in MODULES
    )
    assert found >= 5
