"""Random calls of all operators, right and wrong, in guarded memory: `PYTHONPATH=. python tests/fuzz.py --seed 0`.

Arrays lie flush with forbidden pages, inputs are write-protected and outputs full of NaN: reading or writing beside an
array, or into an input, ends the process. A right call must give what the reference gives; a wrong one must raise
ValueError, TypeError or IndexError in one sentence and compute nothing. `--only K` repeats the call with number K,
which a process that was ended leaves in the file `--progress`.
"""

import argparse
import collections
import os
import re
import signal
import sys
import traceback
from pathlib import Path

import guarded
import numpy as np
from kernel_cases import DTYPES, FORMATS, arranged, changed, check_against_reference

from benchmarks.calls import draw, function
from upconv import kernels
from upconv.kernels import memory, op
from upconv.kernels.cpu import parallel, stream
from upconv.kernels.cpu.machine import LINE
from upconv.kernels.op import OPERATORS

SECONDS = 60  # of computing that one call may take
BYTES, FLOPS = 2**25, 2**28  # larger calls are checked only
FAR = 4096  # a number beyond which the reference, which pads in earnest, is not asked
ANYTHING = (
    *(None, True, False, -1, 0, 1, 2, 3, 7, 2**31 - 1, 2**31, 2**63, 2**70, -(2**63)),
    *(0.5, 1.5, 2.0, -0.5, 1e308, float("nan"), float("inf"), -float("inf"), 1j),
    *("same", "", "mean", "none", "bilinear", "nearest", "reference", "relu", b"same"),
    *((), (1,), (1, 2), (0, 1), (2, 0), (-1, 0), (1, 1, 1), (2**31, 1), (1.5, 1), (None, 1), [2, 2], [3, 1]),
    *(
        ((1, 2), (0, 1)),
        ((1, 1), (1, 1), (1, 1)),
        ((1, -1), (0, 0)),
        (2, 3, 4),
        (1, 2, 3, 4),
        (0, 0, 0, 0),
        (1, 2, 3, 2**40),
    ),
    *(
        np.int64(2),
        np.uint8(1),
        np.float32(2),
        np.array(2),
        np.array([1, 1]),
        np.zeros((2, 3, 4, 5)),
        {},
        {1: 2},
        object(),
    ),
)
TYPES = ("f4", "f8", "f2", "i1", "u1", "i4", "i8", "u8", "?", "c8", ">f4", ">f8", "O")
NUMBERS = (np.nan, np.inf, -np.inf, 1e4, -1e4, 0.0)
BEYOND = (-1, 2**7, 2**15, 2**31, 2**33, 2**63 - 1, -(2**63))


def mutated(x, rng):
    """An array a little different from `x`: in shape, in type, or in one of its numbers."""
    if x.size > 2**20 or 2**31 in x.shape:  # broadcast, before
        return x
    axis = rng.integers(x.ndim) if x.ndim else None
    kind = rng.integers(9)
    if kind == 0 and x.ndim:
        return x[0] if len(x) else x[None]
    if kind == 1:
        return x[None]
    if kind == 2 and x.ndim:
        return np.delete(x, 0, axis) if x.shape[axis] else x
    if kind == 3 and x.ndim:
        return np.concatenate([x, x], axis)
    if kind == 4 and x.ndim:
        return np.take(x, [], axis)
    if kind == 5 and x.ndim and x.shape[axis]:
        return np.broadcast_to(x[(slice(1),) * x.ndim], [2**31 if a == axis else n for a, n in enumerate(x.shape)])
    if kind == 6:
        with np.errstate(all="ignore"):
            return x.astype(rng.choice(TYPES))
    if kind == 7 and x.ndim > 1:
        return np.swapaxes(x, axis, axis - 1)
    if not x.size or x.dtype.kind not in "fiu":
        return x
    x = x.copy()
    values = (
        NUMBERS if x.dtype.kind == "f" else [v for v in BEYOND if np.iinfo(x.dtype).min <= v <= np.iinfo(x.dtype).max]
    )
    x.flat[rng.integers(x.size)] = values[rng.integers(len(values))]
    return x


def spoilt(arguments, rng):
    """The call with one or two arguments changed; it may still be right."""
    arguments = dict(arguments)
    for _ in range(rng.integers(1, 3)):
        name = list(arguments)[rng.integers(len(arguments))]
        if rng.random() < 0.7 and changed(arguments[name], id) is not arguments[name]:  # an array, or a list of some
            arguments[name] = changed(arguments[name], lambda x: mutated(x, rng))
        else:
            arguments[name] = ANYTHING[rng.integers(len(ANYTHING))]
    return arguments


def one_image(arguments):
    """The call without the axis of images, wherever there might be one."""
    return {
        name: value[1:] if name == "input_shape" else changed(value, lambda x: x[0] if x.ndim == 4 and len(x) else x)
        for name, value in arguments.items()
    }


def numbers(value):
    """Every Python number in nested pairs."""
    if isinstance(value, (tuple, list)):
        return [number for each in value for number in numbers(each)]
    return [value] if isinstance(value, (int, float)) else []


def attempt(name, rng, started):
    """One call of an operator. Returns what became of it; raises AssertionError where that is wrong."""
    arguments = draw(name, rng, dtype=DTYPES[rng.integers(2)], real=bool(rng.integers(2)))
    format, at_end = FORMATS[rng.integers(len(FORMATS))], bool(rng.integers(2))
    arguments = {key: changed(value, lambda x: arranged(x, format)) for key, value in arguments.items()}
    wrong, single = rng.random() < 0.5, rng.random() < 0.1
    arguments = one_image(arguments) if single else arguments
    arguments = spoilt(arguments, rng) if wrong else arguments
    arguments = {key: changed(value, lambda x: guarded.frozen(x, at_end)) for key, value in arguments.items()}
    stream.LARGE = (0, 2**24)[rng.integers(2)]
    kernels.set_num_threads(int(rng.integers(1, 4)))
    started.clear()
    try:
        case, _ = OPERATORS[name].prepare(**arguments)
    except (ValueError, TypeError, IndexError) as error:
        assert wrong or single, f"a right call of {name} is refused: {error}"
        message = str(error)
        assert re.fullmatch(rf"{name}: [^\n]+", message), f"{type(error).__name__} is no sentence: {message!r}"
        try:
            function(name)(**arguments)
        except type(error) as again:
            assert str(again) == message
        else:
            raise AssertionError("refused by explain, computed by the call") from None
        assert not started, "something was computed before the error"
        return "refused"
    if case.cost.bytes > BYTES or case.flops > FLOPS:
        return "too large"
    known = {key: value for key, value in case.parameters.items() if key not in ("seed", "ignore_index")}
    numeric = [a for a in case.arguments if not isinstance(a, np.ndarray)]
    if any(abs(number) > FAR for number in numbers([*known.values(), *numeric])):
        function(name)(**arguments)
        return "computed alone"
    sums = "weight" in arguments and "stride" in arguments  # what infinity times the padding is, is nobody's promise
    infinite = any(not np.isfinite(a).all() for a in arguments.values() if isinstance(a, np.ndarray))
    foreign = wrong and name == "batch_norm_training_input"  # it takes the batch's own statistics, and no others
    if not (sums and infinite) and not foreign:
        check_against_reference(name, arguments)
        return "computed"
    function(name)(**arguments)
    return "computed alone"


def guard():
    """Let all memory that kernels write be guarded and poisoned. Returns what notes the calls that have started."""
    started = []

    def address(self, size):
        memory = guarded.empty(-(-size // LINE) * LINE, np.uint8)
        memory.fill(0xFF)
        self.kept = memory
        return memory.ctypes.data

    def poison(operator, variant, case, outputs):
        started.append(operator.name)
        for output in outputs:
            output.fill(np.nan if output.dtype.kind == "f" else 0x5A)

    count = iter(range(2**62))
    memory.empty = lambda shape, dtype: guarded.empty(shape, dtype, at_end=next(count) % 2 == 0)
    parallel.Scratch.address = address
    op.trace.append(poison)
    for name, module in list(sys.modules.items()):
        if name.startswith("upconv.kernels.cpu"):  # several threads for however little work
            for constant in ("SMALL", "SMALL_FLOPS"):
                if hasattr(module, constant):
                    setattr(module, constant, 0)
    return started


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of the one call to make")
    parser.add_argument("--progress", type=Path, default=Path(os.devnull), help="where to write each call's number")
    options = parser.parse_args()
    started, outcomes, failures = guard(), collections.Counter(), collections.defaultdict(list)
    with open(options.progress, "wb", buffering=0) as progress:
        for number in range(options.calls) if options.only is None else [options.only]:
            os.pwrite(progress.fileno(), b"%12d" % number, 0)
            signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
            rng = np.random.default_rng([options.seed, number])
            name = list(OPERATORS)[rng.integers(len(OPERATORS))]
            try:
                outcomes[attempt(name, rng, started)] += 1
            except Exception as error:
                outcomes["failed"] += 1
                failures[name, type(error).__name__, str(error).strip()[:40]].append((number, error))
                if options.only is not None:
                    traceback.print_exc()
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    print(*(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())), sep=", ")
    for (name, kind, _), found in failures.items():
        numbers = ", ".join(str(number) for number, _ in found[:5])
        print(f"{name}, {len(found)} times, as in {numbers}: {kind}: {found[0][1]}", file=sys.stderr)
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
