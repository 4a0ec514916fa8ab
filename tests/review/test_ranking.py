"""The order of photos: by mean ranks, ties counted half, whatever the scale of a figure is."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from conformal_plugin._choices import REVIEW_ORDERS
from conformal_plugin.errors import OptionError
from conformal_plugin.review import PhotoFigures, ranked

figures = st.builds(
    PhotoFigures,
    st.just(10),
    st.floats(0, 3),
    st.floats(0, 1),
    st.floats(0, 1),
    st.dictionaries(st.integers(0, 2), st.integers(1, 10)),
)


def photo(unsure=0.1, lost=0.1, labels=None, sets=1.0):
    return PhotoFigures(10, sets, unsure, lost, labels or {0: 9, 1: 1})


@given(st.lists(figures, min_size=1, max_size=8), st.sampled_from(REVIEW_ORDERS))
def test_places_and_scores(photos, by):
    named = {str(i): one for i, one in enumerate(photos)}
    order = ranked(named, [5, 3, 2], by)
    assert sorted(one.name for one in order) == sorted(named)
    assert [one.place for one in order] == list(range(1, len(photos) + 1))
    scores = [one.score for one in order]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
    assert sum(scores) == pytest.approx(len(photos) / 2)  # ranks are shares of the photos
    assert all(one.excess is None or 0 <= one.excess <= 1 for one in order)
    assert all(
        one.why in (("unsure", "lost", "classes") if by == "all" else (by,)) for one in order
    )


@pytest.mark.parametrize(
    ("by", "odd"),
    [
        ("unsure", photo(unsure=0.5)),
        ("lost", photo(lost=0.5)),
        ("classes", photo(labels={0: 1, 1: 9})),
        ("sets", photo(sets=2.0)),
    ],
)
def test_each_figure_alone(by, odd):
    order = ranked({"a": photo(), "odd": odd, "b": photo()}, [9, 1], by)
    assert [one.name for one in order] == ["odd", "a", "b"]  # equals as they came
    assert order[0].score == pytest.approx(5 / 6)
    assert order[0].why == by


def test_labels_in_excess():
    # Of all labels class 1 has a half, of the labelled pixels a quarter: half of its labels are
    # too many, three quarters of what photo b has.
    order = ranked({"a": photo(labels={0: 6}), "b": photo(labels={0: 0, 1: 6})}, [3, 1], "classes")
    assert [(one.name, one.excess, one.most) for one in order] == [("b", 0.5, 1), ("a", 0, None)]


def test_a_photo_without_a_label_is_not_behind_for_it():
    bare = PhotoFigures(10, 0.0, 0.9, 1.0, {})
    order = ranked({"a": photo(), "bare": bare, "b": photo(labels={0: 5, 1: 5})}, [9, 1])
    assert [one.name for one in order] == ["bare", "b", "a"]


def test_a_class_that_no_labelled_photo_has():
    (one,) = ranked({"a": photo(labels={2: 4})}, [3, 1])
    assert (one.excess, one.most) == (1, 2)
    (bare,) = ranked({"a": PhotoFigures(10, 0.0, 0.9, 1.0, {})}, [3, 1])
    assert (bare.excess, bare.most, bare.score) == (None, None, 0.5)


def test_what_is_refused():
    with pytest.raises(OptionError, match="ranked by one of all, unsure"):
        ranked({"a": photo()}, [1], "luck")
    with pytest.raises(OptionError, match="no photo to rank"):
        ranked({}, [1])
