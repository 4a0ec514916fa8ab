"""Bars where somebody looks, silence elsewhere."""

from __future__ import annotations

import sys

from conformal_plugin.cli._progress import progress


def test_silence_without_a_terminal(capsys):
    assert list(progress([1, 2], "work", total=2)) == [1, 2]
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal_unless_quiet(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(progress([2, 3], "work", total=3, done=1)) == [2, 3]
    captured = capsys.readouterr()
    assert "work" in captured.err
    assert "3/3" in captured.err
    assert captured.out == ""
    assert list(progress([1], "work", total=1, quiet=True)) == [1]
    assert capsys.readouterr().err == ""
