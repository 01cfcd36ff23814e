"""Messages over the two pipes between a test and a candidate: a length, then so many bytes of text.

Strictly in turn: one asks, the other answers. This module also runs inside jails: standard library only.
"""

import os
import struct

from r1jax.rewards.code.plain_data import MOST_BYTES, Malformed

LENGTH = struct.Struct(">I")
LONGEST = 4 * MOST_BYTES  # a character takes up to four bytes
READ_BYTES = 2**16


class Closed(Exception):
    """The other side has gone."""


class Channel:
    """One end.

    Args:
      read_fd: descriptor to read from.
      write_fd: descriptor to write to.
    """

    def __init__(self, read_fd, write_fd):
        self._read_fd = read_fd
        self._write_fd = write_fd

    def send(self, *texts):
        """Sends texts without line breaks as one message; Closed when nobody can read it any more."""
        data = "\n".join(texts).encode("utf-8", "surrogatepass")
        left = memoryview(LENGTH.pack(len(data)) + data)
        try:
            while left:
                left = left[os.write(self._write_fd, left) :]
        except BrokenPipeError:
            raise Closed("the other side has gone") from None

    def receive(self):
        """The texts of the next message.

        Raises Closed at the end of the pipe, and Malformed for a message that is too long, cut off, no UTF-8, or
        followed by another one that nobody has asked for.
        """
        data = bytearray()
        end = LENGTH.size
        while len(data) < end:
            part = os.read(self._read_fd, READ_BYTES)
            if not part:
                raise Malformed("a message is cut off") if data else Closed("the other side has gone")
            data += part
            if end == LENGTH.size <= len(data):
                end += LENGTH.unpack_from(data)[0]
                if end - LENGTH.size > LONGEST:
                    raise Malformed(f"a message of {end - LENGTH.size} bytes")
        if len(data) > end:
            raise Malformed("a message that was not asked for")
        try:
            return data[LENGTH.size :].decode("utf-8", "surrogatepass").split("\n")
        except UnicodeDecodeError as error:
            raise Malformed(f"a message that is no UTF-8: {error.reason}") from None
