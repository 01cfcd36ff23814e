"""Messages between the reward service and its workers: JSON after its length (4 bytes, big endian)."""

from __future__ import annotations

import array
import dataclasses
import json
import struct
from typing import Any, BinaryIO

LENGTH = struct.Struct(">I")
MOST_BYTES = 256 * 2**20  # a longer message is a stray write into the pipe, not one of ours


def encode(message: Any) -> bytes:
    """The bytes of a message of plain JSON values, of arrays, which become lists, and of dataclasses of such, which
    become objects of their fields.
    """
    body = json.dumps(message, default=_plain).encode()
    return LENGTH.pack(len(body)) + body


def _plain(value: Any) -> Any:
    if isinstance(value, array.array):
        return value.tolist()
    if not dataclasses.is_dataclass(value):
        raise TypeError(f"a message is of plain JSON values, found a {type(value).__name__}")
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def decode_length(header: bytes) -> int:
    """The number of bytes that follow a header; ValueError when no message of ours is that long."""
    (length,) = LENGTH.unpack(header)
    if length > MOST_BYTES:
        raise ValueError(f"expected a message of at most {MOST_BYTES} bytes, found a header that says {length}")
    return length


def read(pipe: BinaryIO) -> Any | None:
    """The next message of a blocking pipe; None at its end, or when it ends inside a message."""
    header = pipe.read(LENGTH.size)
    if len(header) < LENGTH.size:
        return None
    length = decode_length(header)
    body = pipe.read(length)
    return json.loads(body) if len(body) == length else None
