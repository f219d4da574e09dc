"""What a new process pays: import, the first conv2d, and compiling a whole training step when nothing is compiled yet.

Each number is the median over several new processes. The compile time is that of a first training step of a U-Net with
an empty cache folder; the same step with a filled one stands beside it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from statistics import median
from tempfile import TemporaryDirectory

from .environment import setting
from .options import positive, table
from .results import Start

HEAD = ["", "cache", "seconds"]
TIMED = "from time import perf_counter; start = perf_counter(); {}; print(perf_counter() - start)"

IMPORT = TIMED.format("import upconv.kernels")

CONVOLUTION = """
import numpy as np
from upconv import kernels
x, w = np.ones((1, 8, 32, 32), np.float32), np.ones((8, 8, 3, 3), np.float32)
""" + TIMED.format("kernels.conv2d(x, w, padding=1)")

STEP = """
import numpy as np
from upconv import nn
model = nn.UNet(in_channels=1, classes=2, width=16, depth=4)
optimizer = nn.SGD(model.parameters(), lr=1e-3, momentum=0.9)
images, labels = np.ones((1, 1, 64, 64), np.float32), np.ones((1, 64, 64), np.uint8)
def step():
    nn.cross_entropy(model(images), labels).backward()
    optimizer.step()
""" + TIMED.format("step()")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=positive, default=5, help="new processes for each number (5)")


def seconds(code: str, cache: str) -> float:
    """What `code` prints in a process of its own, machine code being kept in the folder `cache`."""
    environment = os.environ | {"UPCONV_CACHE_DIR": cache}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"a process failed:\n{done.stderr}")
    return float(done.stdout)


def measure(runs: int, *, step: bool = True) -> list[Start]:
    """Each number as the median over so many new processes. step: of a training step as well, long to compile."""
    codes = (IMPORT, CONVOLUTION, STEP) if step else (IMPORT, CONVOLUTION)
    compiled = []
    with ExitStack() as folders:
        for _ in range(runs):
            folder = folders.enter_context(TemporaryDirectory())
            compiled.append(seconds(codes[-1], folder))
        seconds(CONVOLUTION, folder)
        warm = [[seconds(code, folder) for _ in range(runs)] for code in codes]
    names = ("import upconv.kernels", "first conv2d after the import", "first training step of a U-Net")
    starts = [Start(name, "filled", median(each)) for name, each in zip(names, warm, strict=False)]
    return [*starts, Start(names[len(codes) - 1], "empty", median(compiled))]


def rows(starts: Iterable[Start]) -> list[list[str]]:
    """Of a table: what, the cache folder, seconds."""
    return [[each.what, each.cache, f"{each.seconds:.2f}"] for each in starts]


def run(arguments: argparse.Namespace) -> int:
    print(f"{setting()}; medians of {arguments.runs} new processes\n")
    print(table(HEAD, rows(measure(arguments.runs))))
    return 0
