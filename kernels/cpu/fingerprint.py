"""Has an array changed? 64-bit sums of its bytes."""

import numpy as np

from ..layout import Array
from .jit import VIEWS, claim, kernel
from .parallel import SMALL, run

CHUNK = 128 * 1024  # bytes summed up by themselves
SUMS = 32  # independent chains of a chunk: enough to fill the vector units
FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that a product with it loses nothing

words_of, bytes_of = VIEWS["uint64"], VIEWS["uint8"]


def fingerprint(array: Array) -> Array:
    """h = FACTOR (h xor word), over every SUMS-th word of 8 bytes, in every chunk of the memory of a dense array.

    A single word that differs always gives another fingerprint, several ones all but once in 2^64 times.
    """
    flat = array.ravel("K").view(np.uint8)
    chunks = -(-flat.size // CHUNK)
    sums = np.empty((chunks, SUMS), np.uint64)
    run(_fingerprint, chunks, flat.ctypes.data, flat.size, sums.ctypes.data, small=flat.size < SMALL)
    return sums


@kernel("fingerprint")
def _fingerprint(work, scratch, count, memory, size, sums):  # type: ignore[no-untyped-def]
    chunk = claim(work)
    while chunk < count:
        first = chunk * CHUNK
        some = min(CHUNK, size - first)
        words = some // 8
        numbers, h = words_of(memory + first, words), words_of(sums + chunk * SUMS * 8, SUMS)
        for lane in range(SUMS):
            h[lane] = lane
        for row in range(0, words // SUMS * SUMS, SUMS):
            for lane in range(SUMS):
                h[lane] = (h[lane] ^ numbers[row + lane]) * FACTOR
        for at in range(words // SUMS * SUMS, words):
            h[at % SUMS] = (h[at % SUMS] ^ numbers[at]) * FACTOR
        rest = bytes_of(memory + first, some)
        for at in range(words * 8, some):
            h[at % SUMS] = (h[at % SUMS] ^ np.uint64(rest[at])) * FACTOR
        chunk = claim(work)
