"""How coarsely a WebP file was stored, by its own header, read as far as the quantiser (RFC 6386, sections 7, 9 and 19.2)."""

from __future__ import annotations

from typing import IO

KEY_FRAME = b"\x9d\x01\x2a"
HEADER_BYTES = 64  # of the first partition: far more than what comes before the quantiser

# Of all frequencies but the lowest, by index (section 14.1).
STEPS = (
    *range(4, 58),
    58, 60, 62, 64, 66, 68, 70, 72, 74, 76, 78, 80, 82, 84, 86, 88, 90, 92, 94, 96, 98, 100, 102, 104, 106, 108, 110,
    112, 114, 116, 119, 122, 125, 128, 131, 134, 137, 140, 143, 146, 149, 152, 155, 158, 161, 164, 167, 170, 173, 177,
    181, 185, 189, 193, 197, 201, 205, 209, 213, 217, 221, 225, 229, 234, 239, 245, 249, 254, 259, 264, 269, 274, 279,
    284,
)


def quantiser_step(stream: IO[bytes]) -> float | None:
    """The mean step, over its segments, of the brightness of a WebP file, or its first frame; None where it is lossless, or
    not understood."""
    frame = _first_frame(stream)
    if frame[3:6] != KEY_FRAME or frame[0] & 1:
        return None
    bits = _Bits(frame[10:])
    bits.number(2)  # colour space, clamping
    segments: list[int] = []
    absolute = 1
    if bits.number(1):
        has_map, has_values = bits.number(1), bits.number(1)
        if has_values:
            absolute = bits.number(1)
            segments = [bits.optional(7) for _ in range(4)]
            _ = [bits.optional(6) for _ in range(4)]  # of the loop filter
        if has_map:
            _ = [bits.number(8) if bits.number(1) else 0 for _ in range(3)]
    bits.number(10)  # of the loop filter, and what follows
    if bits.number(1) and bits.number(1):
        _ = [bits.optional(6) for _ in range(8)]
    bits.number(2)  # partitions
    base = bits.number(7)
    indices = [index if absolute else base + index for index in segments] or [base]
    return sum(STEPS[min(max(index, 0), len(STEPS) - 1)] for index in indices) / len(indices)


def _first_frame(stream: IO[bytes]) -> bytes:
    """The beginning of the first chunk of lossy pixels, inside an animation too; nothing where there is none."""
    stream.seek(12)
    while len(head := stream.read(8)) == 8:
        name, length = head[:4], int.from_bytes(head[4:], "little")
        if name == b"VP8 ":
            return stream.read(HEADER_BYTES)
        stream.seek(16 if name == b"ANMF" else length + length % 2, 1)
    return b""


class _Bits:
    """The boolean decoder, for bits that are 0 as often as 1: others do not come before the quantiser. Zeros follow the end."""

    def __init__(self, data: bytes):
        self._rest = iter(data)
        self._value, self._range, self._missing = 256 * self._next() + self._next(), 255, 8

    def number(self, n: int) -> int:
        """Of ``n`` bits, the highest first."""
        value = 0
        for _ in range(n):
            value = 2 * value + self._bit()
        return value

    def optional(self, n: int) -> int:
        """A bit that says whether there is a number, ``n`` bits and a sign; 0 where there is none."""
        if not self.number(1):
            return 0
        value = self.number(n)
        return -value if self.number(1) else value

    def _bit(self) -> int:
        split = 1 + (self._range - 1) // 2
        one = self._value >= 256 * split
        if one:
            self._value -= 256 * split
        self._range = self._range - split if one else split
        while self._range < 128:
            self._range, self._value, self._missing = 2 * self._range, 2 * self._value, self._missing - 1
            if not self._missing:
                self._value, self._missing = self._value + self._next(), 8
        return int(one)

    def _next(self) -> int:
        return next(self._rest, 0)
