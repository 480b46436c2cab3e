"""Writes the parameters by which MNN's converter knows blocks of zeros.

``mnnconvert --compressionParamsFile`` reads a protobuf message of five fields. It is encoded here
by hand, so that nothing has to be installed for it:

======================  =====  =================================================
message                 field  what
======================  =====  =================================================
Pipeline                1      version, a text
Pipeline                2      an algorithm
algorithm               1      its type; 1: pruning
algorithm               3      parameters of pruning
parameters of pruning   1      their type; 1: blocks of output channels
parameters of pruning   3      parameters of blocks
parameters of blocks    4      output channels in a block, a list of numbers
======================  =====  =================================================
"""

from __future__ import annotations

_PRUNES = 1
_BLOCKS = 1
_NUMBER, _BYTES = 0, 2  # wire types
_VERSION = "0.0.0"


def compression_params(channels: int) -> bytes:
    """Return the message for blocks of some output channels.

    Parameters
    ----------
    channels
        Zero together at one input channel and kernel position; at least 1.
    """
    blocks = _number(4, channels)
    pruning = _number(1, _BLOCKS) + _message(3, blocks)
    algorithm = _number(1, _PRUNES) + _message(3, pruning)
    return _message(1, _VERSION.encode()) + _message(2, algorithm)


def block_channels(pattern: str) -> int | None:
    """Return the output channels of a block such as ``4x1``; None where there are no blocks."""
    rows, times, columns = pattern.partition("x")
    is_block = bool(times) and columns == "1" and rows.isdigit() and int(rows) > 1
    return int(rows) if is_block else None


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _NUMBER) + _varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Return a number in groups of 7 bits, the lowest first, as protobuf has them."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
