"""Optimisers' steps on a GPU beside those of the CPU: every rule, all parameters at once, by one kernel."""

import numpy as np
import pytest
from gpu_cases import counted

from upconv.kernels.cpu.update import RULES
from upconv.kernels.update import update

CONSTANTS = {
    "sgd": (0.1, 0.9, 0.01),
    "nesterov": (0.1, 0.9, 0.01),
    "adagrad": (0.1, 1e-3, 0.01),
    "rmsprop": (0.1, 0.9, 1e-3, 0.5, 0.01),
    "adam": (0.1, 0.9, 0.99, 3.0, 1e-3, 0.01),
    "adamw": (0.1, 0.9, 0.99, 3.0, 1e-3, 0.01),
}
SIZES = (3, 4096, 1, 5000, 2048)  # of parameters: a part of a chunk, whole ones, several


def rows_of(rule, dtypes):
    rng = np.random.default_rng(0)
    states = RULES[rule][1]
    return [
        tuple(np.abs(rng.standard_normal(size)).astype(dtype) for _ in range(2 + states))
        for size, dtype in zip(SIZES, dtypes, strict=True)
    ]


def constants_of(rule):
    return [
        lambda number=number: (CONSTANTS[rule][0] / (1 + number), *CONSTANTS[rule][1:]) for number in range(len(SIZES))
    ]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtypes", [[np.float32] * 5, [np.float64] * 5, [np.float32, np.float64] * 2 + [np.float32]])
def test_every_rule_equals_that_of_the_cpu(gpu, rule, dtypes):
    rows = rows_of(rule, dtypes)
    there = [tuple(map(gpu.asarray, row)) for row in rows]
    gpu.device.forget()
    for _ in range(2):
        update(rule, rows, constants_of(rule))
        update(rule, there, constants_of(rule))
    assert gpu.device.names == {"update": 2 * len(set(dtypes))}
    assert not gpu.device.transfers
    for ours, theirs in zip(there, rows, strict=True):
        for name, a, b in zip(("w", "g", "a", "b"), ours, theirs, strict=False):
            np.testing.assert_allclose(a.get(), b, rtol=20 * np.finfo(b.dtype).eps, atol=1e-7, err_msg=name)


def test_parameters_may_begin_anywhere(gpu):
    """Vectors are for those that begin at a multiple of their size."""
    rows = rows_of("adam", [np.float32] * 5)
    there = []
    for row in rows:
        wide = [gpu.zeros(each.size + 1, each.dtype) for each in row]
        for w, each in zip(wide, row, strict=True):
            w[1:] = gpu.asarray(each)
        there.append(tuple(w[1:] for w in wide))
    update("adam", rows, constants_of("adam"))
    update("adam", there, constants_of("adam"))
    for ours, theirs in zip(there, rows, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.get(), b, rtol=2e-6, atol=1e-7)


def test_nothing_to_update(gpu):
    update("sgd", [], [])
    empty = tuple(gpu.zeros(0, np.float32) for _ in range(3))
    update("sgd", [empty], [lambda: CONSTANTS["sgd"]])
    assert not gpu.device.launches


def test_every_byte_is_moved_once(gpu):
    row = tuple(gpu.zeros(8192, np.float32) for _ in range(4))
    gpu.device.forget()
    update("adam", [row], [lambda: CONSTANTS["adam"]])
    (counts,) = counted(gpu)
    written, vectors = counts.of("global", "write"), counts.of("global", "read", "v4")
    assert written.used == written.ideal == 3 * 8192 * 4 // 32
    assert vectors.used == vectors.ideal == 4 * 8192 * 4 // 32
