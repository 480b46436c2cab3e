"""Pictures are PNG files that hold the pixels they were given."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from onnx_lobs.report.png import encode_png, encode_shades


def chunks(png: bytes) -> dict[bytes, bytes]:
    """Return the chunks of a PNG by their kind, whose checksums are right."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = {}, 8
    while at < len(png):
        (size,) = struct.unpack_from(">I", png, at)
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", png, at + 8 + size)[0] == zlib.crc32(kind + body)
        found[kind] = body
        at += 12 + size
    return found


def rows(body: bytes, height: int) -> np.ndarray:
    """Return the bytes of each row, none of which is filtered."""
    data = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, -1)
    assert not data[:, 0].any()
    return data[:, 1:]


@pytest.mark.parametrize(("channels", "color_type"), [(1, 0), (3, 2)])
def test_pixels_come_back(channels: int, color_type: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    found = chunks(encode_png(pixels))
    assert struct.unpack(">2I5B", found[b"IHDR"]) == (7, 5, 8, color_type, 0, 0, 0)
    assert np.array_equal(rows(found[b"IDAT"], 5).reshape(pixels.shape), pixels)
    assert found[b"IEND"] == b""


def test_shades_are_one_colour_that_is_the_more_opaque_the_larger_the_value() -> None:
    shares = np.random.default_rng(1).integers(0, 256, (4, 6), np.uint8)
    found = chunks(encode_shades(shares, (1, 2, 3)))
    assert struct.unpack(">2I5B", found[b"IHDR"]) == (6, 4, 8, 3, 0, 0, 0)
    assert found[b"PLTE"] == bytes((1, 2, 3)) * 256
    assert found[b"tRNS"] == bytes(range(256))
    assert np.array_equal(rows(found[b"IDAT"], 4), shares)
