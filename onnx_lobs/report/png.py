"""Writes small pictures as PNG files, with nothing but zlib."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from onnx_lobs.arrays import Array

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {1: 0, 3: 2}  # of a picture of so many channels: grey, red green blue
_INDEXED = 3


def encode_png(pixels: Array) -> bytes:
    """Return a picture as a PNG file.

    Parameters
    ----------
    pixels
        (height, width, 1 or 3) array of uint8, grey or red, green and blue. Not modified.
    """
    height, width, channels = pixels.shape
    return _file(pixels.reshape(height, -1), width, _COLOR_TYPES[channels], [])


def encode_shades(shares: Array, color: tuple[int, int, int]) -> bytes:
    """Return a picture in one colour that is the more opaque the larger a value is.

    It does on light and dark grounds alike.

    Parameters
    ----------
    shares
        (height, width) array of uint8: 0 shows the ground, 255 the colour. Not modified.
    color
        Red, green and blue, 0 to 255.
    """
    chunks = [(b"PLTE", bytes(color) * 256), (b"tRNS", bytes(range(256)))]
    return _file(shares, shares.shape[1], _INDEXED, chunks)


def _file(rows: Array, width: int, color_type: int, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Return a file with eight bits for each channel of a pixel."""
    head = struct.pack(">2I5B", width, len(rows), 8, color_type, 0, 0, 0)
    unfiltered = np.zeros((len(rows), 1), np.uint8)  # each row begins with the kind of its filter
    data = zlib.compress(np.hstack([unfiltered, rows]).tobytes(), 9)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", data), (b"IEND", b"")]
    return _SIGNATURE + b"".join(_chunk(*part) for part in parts)


def _chunk(kind: bytes, body: bytes) -> bytes:
    check = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)
