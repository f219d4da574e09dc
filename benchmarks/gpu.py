"""Everything on a GPU: operators and a U-Net's training step on CuPy arrays, beside PyTorch if that is installed.

Measures the ceilings first, a copy on the device and large products of matrices. Each case is checked against float64
on the CPU, then timed by events on the device, medians of rounds in which all take turns, on several sets of inputs in
turn where the L2 would hold one; convolutions in tf32 and in fp32, PyTorch's in the same, channels-last. A case that
fails is a line of the table; a kernel's fault, after which a GPU answers no more, ends the run. Writes results.json and
table.md after every case: Ctrl-C keeps those so far.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from upconv import kernels

from . import gpu_unet, peers
from .calls import function
from .cases import CONVOLUTION, TRANSPOSED, Call, Network, call
from .device import Candidate, Gpu, precise
from .environment import environment
from .gpu_results import THEIRS, Found, Row
from .measure import RANDOM
from .options import positive
from .progress import progress
from .results import OURS, Unusable
from .shapes import GROUPS

TOLERANCES = {"tf32": 5e-3, "fp32": 1e-4}  # of the largest number; TF32 keeps 10 bits of each factor
PRODUCTS = (*CONVOLUTION, *TRANSPOSED)
SECTIONS = tuple(group.name for group in GROUPS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=positive, default=9, help="rounds (9)")
    parser.add_argument("--alone", action="store_true", help="compare with nothing")
    parser.add_argument("--smoke", action="store_true", help="tiny cases, one round: does everything run?")
    parser.add_argument("--output", type=Path, default=Path("runs/gpu"), metavar="DIR", help="where (runs/gpu)")
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=f"what to measure, of {', '.join(SECTIONS)}"
    )


def parts(arguments: argparse.Namespace) -> Iterator[tuple[Row, Callable[..., None]]]:
    """(a row, what fills it when called with the GPU, the row, all rows, PyTorch and rounds), in order."""
    made = lru_cache(maxsize=1)(call)  # the same for both precisions
    for group in sorted(GROUPS, key=lambda group: group.name == "networks"):  # last: a fault there loses no other case
        if arguments.only and group.name not in arguments.only:
            continue
        if group.name == "networks":
            network = gpu_unet.NETWORK.small() if arguments.smoke else gpu_unet.NETWORK
            for precision, tolerance in TOLERANCES.items():
                row = Row(group.name, "training step", network.label, precision)
                yield row, partial(gpu_unet.measure, network, tolerance)
        layers = (case for case in group.cases if not isinstance(case, Network))
        for case in dict.fromkeys(case.small() if arguments.smoke else case for case in layers):
            for operator in (each for each in case.operators if each in group.operators):
                for precision in TOLERANCES if operator in PRODUCTS else ("fp32",):
                    fill = partial(_made_and_measured, made, case, operator)
                    yield Row(group.name, operator, case.label, precision), fill


def _made_and_measured(made: Callable[..., Call], case: Any, operator: str, *rest: Any) -> None:
    measure(made(case, operator), *rest)


def measure(call: Call, gpu: Gpu, row: Row, found: Found, peer: Any, rounds: int) -> None:
    """Check a call's results, then time it; an entrant whose result is wrong is not timed.

    Raises AssertionError where upconv's own result is wrong.
    """
    tolerance, operator = TOLERANCES[row.precision], function(call.operator)
    placed = [{name: gpu.place(value) for name, value in call.arguments.items()}]
    explanation = kernels.explain(operator, **placed[0])
    row.variant, row.flops, row.bytes = explanation.variant, explanation.cost.flops, explanation.cost.bytes
    row.ceiling = found.least(row.flops, row.bytes, row.precision)
    sets = gpu.sets(row.bytes)
    placed += [{name: gpu.place(value) for name, value in call.arguments.items()} for _ in range(sets - 1)]
    entrants: dict[str, Candidate] = {OURS: [partial(operator, **each) for each in placed]}
    row.errors[OURS] = call.check(fetched(entrants[OURS][0]()), tolerance=tolerance)
    try:
        candidates = [peer.candidates(call, "cuda", (THEIRS,)) for _ in range(sets)] if peer else []
        theirs = [each[THEIRS] for each in candidates if THEIRS in each]
        if theirs and call.operator not in RANDOM:
            row.errors[THEIRS] = call.check(fetched(theirs[0]()), THEIRS, tolerance)
        if theirs:
            entrants[THEIRS] = theirs
    except Exception as error:
        row.told(error, THEIRS)
    row.seconds = dict(zip(entrants, gpu.times([*entrants.values()], rounds), strict=True))


def fetched(result: Any) -> Any:
    """The first of several results, or the only one, as a NumPy array."""
    one = result[0] if isinstance(result, (tuple, list)) else result
    return one.get() if hasattr(one, "get") else one.detach().cpu().numpy()


def ceilings(gpu: Gpu, found: Found, rounds: int) -> None:
    """Measure them; one that cannot be measured is told."""
    measured: dict[str, Callable[[int], float]] = {"copy": gpu.copied}
    measured |= {name: partial(gpu.multiplied, precision=name) for name in TOLERANCES}
    for name, measure in measured.items():
        try:
            found.ceilings[name] = measure(rounds)
        except Exception as error:
            found.failures.append(f"the ceiling {name}: {type(error).__name__}: {error}")


def pytorch() -> tuple[list[Any], list[str]]:
    """PyTorch, if it is installed and sees the GPU, ready for its best; else why not."""
    found, missing = peers.installed(("pytorch",))
    if found and not found[0].torch.cuda.is_available():
        return [], [f"PyTorch {found[0].VERSION} sees no GPU"]
    for each in found:
        each.torch.backends.cudnn.benchmark = True  # it tries its algorithms and takes the fastest
    return found, missing


def run(arguments: argparse.Namespace) -> int:
    gpu = Gpu(smoke=arguments.smoke)
    beside, missing = ([], []) if arguments.alone else pytorch()
    peer = next(iter(beside), None)
    found = Found(environment(beside, missing) | gpu.environment(), arguments.smoke)
    rounds, lost = 1 if arguments.smoke else arguments.rounds, False
    try:
        arguments.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unusable(f"--output {arguments.output} cannot be a folder: {error.strerror}") from error
    # where each array is an allocation of its own, compute-sanitizer sees what lies beyond its end
    apart = gpu.cupy.cuda.using_allocator(None) if arguments.smoke else nullcontext()
    try:
        with apart:
            ceilings(gpu, found, rounds)
            todo = [*parts(arguments)]
            with progress([f"{row.operator}: {row.case}, {row.precision}" for row, _ in todo]) as show:
                for number, (row, fill) in enumerate(todo):
                    show(number)
                    try:
                        with precise(row.precision, peer):
                            fill(gpu, row, found, peer, rounds)
                    except Exception as error:  # it is told, and the run goes on
                        row.told(error)
                    found.rows.append(row)
                    lost = not gpu.answers()
                    if lost:
                        left = len(todo) - number - 1
                        found.failures.append(f"the GPU answers no more after {row.operator}; {left} cases are left")
                    found.save(arguments.output)
                    if lost:
                        break
                    gpu.free()
    except KeyboardInterrupt:
        print(f"benchmarks: interrupted; {arguments.output} has what was measured", file=sys.stderr)
        return 130
    print(found.text())
    return 1 if lost or any(not row.seconds for row in found.rows) else 0
