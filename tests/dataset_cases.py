"""IDX files as Fashion-MNIST's, of the tests' own images."""

import gzip
import struct

NAMES = [f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]


def idx(array):
    """An array of uint8 as the content of a file."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(folder, images, labels, tested, *, compressed=False):
    """All to train on, the first `tested` for the test."""
    for name, array in zip(NAMES, (images, labels, images[:tested], labels[:tested]), strict=True):
        content = gzip.compress(idx(array)) if compressed else idx(array)
        (folder / f"{name}{'.gz' * compressed}").write_bytes(content)
