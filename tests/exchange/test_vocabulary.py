"""What masks mean: a label map becomes masks and comes back the same, whatever order is painted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from conformal_plugin.errors import OptionError
from conformal_plugin.exchange import DROPPED, UNSURE, Layer, Vocabulary

CLASSES = ("background", "cat", "dog")


@given(
    st.sampled_from([None, 0, 2]),
    st.lists(st.sampled_from([0, 1, 2, 255]), min_size=6, max_size=6),
)
def test_masks_and_back(background, values):
    vocabulary = Vocabulary(CLASSES, background)
    labels = np.array(values, np.uint8).reshape(2, 3)
    layers = vocabulary.layers(labels)
    assert {layer.label for layer in layers} <= set(vocabulary.labels)
    composed = vocabulary.compose(layers, (2, 3))
    np.testing.assert_array_equal(composed.labels, labels)
    assert composed.labels.dtype == np.uint8
    assert composed.undecided == (labels == 255).sum()
    again = vocabulary.layers_of_indices(vocabulary.indices(labels))
    np.testing.assert_array_equal(vocabulary.compose(again, (2, 3)).labels, labels)


def test_a_class_painted_over_dropped_pixels_decides_them():
    vocabulary = Vocabulary(CLASSES, 0)
    cat, everything = np.array([[True, False]]), np.ones((1, 2), bool)
    composed = vocabulary.compose([Layer("cat", cat), Layer(DROPPED, everything)], (1, 2))
    assert composed.labels.tolist() == [[1, 255]]
    assert composed.undecided == 1


def test_the_later_mask_counts_and_unsure_is_decided():
    vocabulary = Vocabulary(CLASSES, 0)
    whole, half = np.ones((1, 2), bool), np.array([[True, False]])
    layers = [Layer("cat", whole), Layer("dog", half), Layer(UNSURE, half)]
    composed = vocabulary.compose(layers, (1, 2))
    assert (composed.labels.tolist(), composed.undecided) == ([[255, 1]], 0)
    assert vocabulary.compose(layers[::-1], (1, 2)).labels.tolist() == [[1, 1]]


def test_without_a_background_bare_pixels_are_undecided():
    composed = Vocabulary(CLASSES, None).compose([], (2, 2))
    assert (composed.labels == 255).all()
    assert composed.undecided == 4


def test_colours_are_told_apart():
    vocabulary = Vocabulary(tuple(f"class {c}" for c in range(150)), 0)
    colours = list(vocabulary.colours().values())
    assert len(set(colours)) == len(vocabulary.labels) == 151
    assert (0, 0, 0) not in colours
    with pytest.raises(OptionError, match="more than the 254 that have a colour"):
        Vocabulary(tuple(f"class {c}" for c in range(300)), 0).colours()


@pytest.mark.parametrize("name", ["", " ", "a\nb", DROPPED, UNSURE, "checked", "cat"])
def test_names_that_cannot_be_told_apart(name):
    with pytest.raises(OptionError, match="cannot be a label of its own"):
        Vocabulary(("background", "cat", name), 0)


def test_a_background_that_is_no_class():
    with pytest.raises(OptionError, match=r"0 \.\.\. 2, got 3"):
        Vocabulary(CLASSES, 3)


def test_numbers_that_are_no_label():
    with pytest.raises(OptionError, match="holds the numbers"):
        Vocabulary(CLASSES, 0).layers_of_indices(np.array([[0, 9]]))
