"""A map comes back as it was rounded, to the bit; damage is noticed, and nothing grows."""

from __future__ import annotations

import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

from conformal_plugin.errors import (
    InputTypeError,
    OptionError,
    ScoreError,
    ShapeError,
    SourceFileError,
)
from conformal_plugin.files import _store_codec as store_codec, rounded
from conformal_plugin.files._store_codec import (
    DIGEST_BYTES,
    FLOAT16,
    HEADER_BYTES,
    PRECISIONS,
    decode,
    encode,
    read_header,
)

ANY_MAP = hnp.arrays(
    st.sampled_from([np.float16, np.float32, np.float64]),
    hnp.array_shapes(min_dims=3, max_dims=4, max_side=9),
    elements={"min_value": 0, "max_value": 1},
)


def test_decoding_takes_three_times_the_map_at_most():
    """It took 5.4 times."""
    scores = np.random.default_rng(0).dirichlet(np.ones(21), (120, 120)).transpose(2, 0, 1)
    content = encode(scores)
    tracemalloc.start()
    try:
        decoded, _ = decode(content, "a")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert decoded.nbytes < peak < 3 * decoded.nbytes


@given(ANY_MAP, st.sampled_from(PRECISIONS))
def test_what_was_rounded_comes_back(scores, precision):
    expected = rounded(scores, precision)
    digest = bytes(range(DIGEST_BYTES))
    got, header = decode(encode(scores, precision=precision, digest=digest), "a")
    assert got.dtype == np.float16
    assert got.tobytes() == expected.tobytes()
    assert (header.shape, header.precision, header.digest) == (scores.shape, precision, digest)


@given(ANY_MAP, st.sampled_from(PRECISIONS))
def test_rounding_keeps_its_bound_and_the_order(scores, precision):
    got = rounded(scores, precision).astype(np.float64)
    bound = 2.0**-12 if precision == FLOAT16 else 2.0 ** -(precision + 1)
    assert np.abs(got - scores.astype(np.float64)).max() <= bound
    order = np.argsort(scores, axis=None, kind="stable")
    assert (np.diff(got.ravel()[order]) >= 0).all()
    np.testing.assert_array_equal(rounded(got.astype(np.float32), precision), got)


def test_float16_comes_back_bit_for_bit_in_all_its_values():
    every = np.arange(0x3C01, dtype=np.uint16).view(np.float16).reshape(1, 1, -1)
    assert decode(encode(every, precision=FLOAT16), "a")[0].tobytes() == every.tobytes()
    assert not np.signbit(rounded(np.full((1, 1, 1), -0.0), FLOAT16)).any()
    # At 11 bits float16 scores of one half or more do not move either.
    upper = every[every >= 0.5].reshape(1, 1, -1)
    assert rounded(upper, 11).tobytes() == upper.tobytes()


def test_each_way_of_predicting_the_background_is_exact(maps):
    largest = [np.concatenate([1 - m[1:].max(0, keepdims=True), m[1:]]) for m in maps]
    alone = [np.concatenate([m[:1] * 0 + np.float16(0.3), m[1:]]) for m in maps]
    for precision in PRECISIONS:
        kinds = set()
        for scores in (*maps, *largest, *alone):
            content = encode(scores, precision=precision)
            kinds.add(content[10])
            np.testing.assert_array_equal(decode(content, "a")[0], rounded(scores, precision))
        assert kinds == {0, 1, 2}


def test_torch_and_numpy_give_the_same_bytes(maps):
    for scores in maps:
        wide = scores.astype(np.float32)
        assert encode(torch.from_numpy(wide)) == encode(wide) == encode(scores)
        half = torch.from_numpy(wide).to(torch.bfloat16)
        assert encode(half) == encode(half.float().numpy())


def test_empty_planes_cost_next_to_nothing(maps):
    scores = np.zeros((150, *maps[0].shape[1:]), np.float16)
    scores[: len(maps[0])] = maps[0]
    assert len(encode(scores)) - len(encode(maps[0])) == (150 + 7) // 8 - 1
    assert len(encode(np.zeros((21, 300, 400), np.float16))) < HEADER_BYTES + 20


@pytest.mark.parametrize("precision", [11, FLOAT16])
def test_every_cut_and_every_flipped_byte_is_noticed(maps, precision):
    content = encode(maps[1], precision=precision)
    for length in range(len(content)):
        with pytest.raises(SourceFileError, match=r"the map a "):
            decode(content[:length], "a")
    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] ^= 0x41
        with pytest.raises(SourceFileError, match=r"the map a "):
            decode(bytes(damaged), "a")


def test_a_later_version_is_told(maps):
    content = bytearray(encode(maps[0]))
    content[8] = 3
    with pytest.raises(SourceFileError, match=r"version 3 .* reads 1 and 2; install a newer"):
        decode(bytes(content), "a")


def test_every_cut_and_every_flipped_byte_of_a_volume_is_noticed():
    content = encode(
        np.random.default_rng(0).dirichlet(np.ones(3), (4, 5, 6)).transpose(3, 0, 1, 2)
    )
    for length in range(len(content)):
        with pytest.raises(SourceFileError, match=r"the map a "):
            decode(content[:length], "a")
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x41
        with pytest.raises(SourceFileError, match=r"the map a "):
            decode(bytes(damaged), "a")


def test_an_image_is_written_as_before_and_a_volume_of_one_slice_is_no_image(maps):
    assert encode(maps[0])[8] == 1
    volume = encode(maps[0][:, None])
    assert volume[8] == 2
    assert decode(volume, "a")[0].shape == (len(maps[0]), 1, *maps[0].shape[1:])


def resealed(content):
    """The content with a checksum that fits."""
    head, body = content[: HEADER_BYTES - 4], content[HEADER_BYTES:]
    return head + zlib.crc32(body, zlib.crc32(head)).to_bytes(4, "little") + body


def test_a_file_that_inflates_beyond_its_header_is_refused_unread(maps):
    content = bytearray(encode(maps[0]))
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = bytes(content[HEADER_BYTES : HEADER_BYTES + 1])
    body += bomb.compress(bytes(2**24)) + bomb.flush()
    content[HEADER_BYTES - 8 : HEADER_BYTES - 4] = (HEADER_BYTES + len(body)).to_bytes(4, "little")
    with pytest.raises(SourceFileError, match="its planes have another size"):
        decode(resealed(bytes(content[:HEADER_BYTES]) + body), "a")


def test_a_header_of_impossible_size_is_refused(maps):
    content = bytearray(encode(maps[0]))
    content[12:24] = (2**16).to_bytes(4, "little") * 3
    with pytest.raises(SourceFileError, match="header that makes no sense"):
        read_header(bytes(content), "a")


def test_scores_above_one_are_refused_at_reading(monkeypatch, maps):
    monkeypatch.setattr(store_codec, "_levels", lambda scores, _: scores)
    levels = np.full((2, 3, 4), 2**11 + 1, np.uint16)
    content = encode(levels, precision=11)
    monkeypatch.undo()
    with pytest.raises(SourceFileError, match="scores above 1"):
        decode(content, "a")


@pytest.mark.parametrize(
    ("scores", "error", "message"),
    [
        (np.zeros((2, 3), np.float32), ShapeError, r"\(K, H, W\) .* got \(2, 3\)"),
        (np.zeros((2, 0, 3), np.float32), ShapeError, "at least one pixel"),
        (np.full((1, 2, 2), 1.25), ScoreError, r"in \[0, 1\], got 1.25"),
        (np.full((1, 2, 2), np.nan), ScoreError, "got nan"),
        (np.full((1, 2, 2), -0.01), ScoreError, "got -0.01"),
        (np.zeros((1, 2, 2), np.uint8), InputTypeError, "divide integers"),
    ],
)
def test_bad_scores(scores, error, message):
    with pytest.raises(error, match=message):
        encode(scores)


def test_a_precision_that_is_none():
    with pytest.raises(OptionError, match="one of 8, 9, 10, 11, 16 bits, got 12"):
        encode(np.zeros((1, 1, 1)), precision=12)
