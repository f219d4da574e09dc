"""Everything in one report: kernels, whole networks, start-up and memory, beside every peer that is installed.

Writes results.json, report.md with its pictures, and report.html, which is one file with all inside. Losses come first.
Results are on disk after every case: Ctrl-C makes a report of those so far, and --resume goes on from there. --from
makes the report anew from a results.json, measuring nothing. Takes about a quarter of an hour; leave the machine alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from upconv._extras import require
from upconv.nn.files import write

from . import memory, peaks, startup, unet
from .cases import Network, call
from .environment import environment
from .measure import measure
from .options import add_measuring, chosen_peers
from .progress import progress
from .rendering import document, formats, plots
from .results import OURS, Results, Unusable, load
from .shapes import GROUPS, LARGE, NETWORKS, Group

SECTIONS = (*(group.name for group in GROUPS), "startup", "memory")
BESIDE_A_COPY = ("resizing", "maps")
BUDGET, NETWORK_BUDGET = 1.0, 8.0  # seconds after which a case begins no further round
RUNS = 3  # new processes for each start-up time
RESULTS = "results.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_measuring(parser)
    parser.add_argument("--output", type=Path, metavar="DIR", help="where it is written (default: runs/benchmarks)")
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=f"what to measure, of {', '.join(SECTIONS)}"
    )
    parser.add_argument("--resume", action="store_true", help="keep what DIR/results.json has, measure the rest")
    parser.add_argument("--from", dest="source", type=Path, metavar="JSON", help="make the report of these results")


@dataclass
class Part:
    """Something that is measured at once: `run` adds it to results."""

    label: str
    done: Callable[[Results], bool]
    run: Callable[[Results], None]


def parts(arguments: argparse.Namespace, peers: Sequence[Any]) -> Iterator[Part]:
    """All there is to do, in order."""
    rounds, smoke = 1 if arguments.smoke else arguments.rounds, arguments.smoke
    sections = arguments.only or SECTIONS

    def peaks_of(results: Results) -> None:
        results.peaks = peaks.measure(rounds, smoke)

    yield Part("machine peaks", lambda results: results.peaks is not None, peaks_of)
    copies: list[peaks.Copy] = []
    for group in GROUPS:
        if group.name in sections:
            yield from _cases(group.small() if smoke else group, peers, rounds, copies, smoke)
    if "startup" in sections:
        start = partial(startup.measure, 1 if smoke else RUNS, step=not smoke)
        yield Part("start-up", lambda results: bool(results.starts), lambda results: results.starts.extend(start()))
    if "memory" in sections:
        beside = any(peer.TITLE == "PyTorch" for peer in peers)
        for network in [NETWORKS[0].small()] if smoke else NETWORKS:
            yield _memory(network, memory.ENTRANTS if beside else (OURS,))


def _cases(group: Group, peers: Sequence[Any], rounds: int, copies: list[peaks.Copy], smoke: bool) -> Iterator[Part]:
    def has(operator: str, label: str, results: Results) -> bool:
        return any(each.key == (group.name, operator, label) for each in results.measurements)

    def network(case: Network, results: Results) -> None:
        results.measurements += unet.measure(group.name, case, peers, rounds, NETWORK_BUDGET)

    def operation(case: Any, operator: str, results: Results) -> None:
        if group.name in BESIDE_A_COPY and not copies:
            copies.append(peaks.Copy((2, 5, 12, 12) if smoke else LARGE))
        copy = copies[0] if group.name in BESIDE_A_COPY else None
        made = measure(group.name, call(case, operator), peers, rounds, budget=BUDGET, copy=copy)
        results.measurements.append(made)

    for case in group.cases:
        if isinstance(case, Network):
            yield Part(case.label, partial(has, unet.PARTS[-1], case.label), partial(network, case))
            continue
        for operator in case.operators:
            if operator in group.operators:
                label = f"{operator}: {case.label}"
                yield Part(label, partial(has, operator, case.label), partial(operation, case, operator))


def _memory(network: Network, entrants: Sequence[str]) -> Part:
    def done(results: Results) -> bool:
        return any(each.case == network.label for each in results.memory)

    def run(results: Results) -> None:
        results.memory += memory.measure(network, entrants)

    return Part(f"memory of {network.label}", done, run)


def run(arguments: argparse.Namespace) -> int:
    require("matplotlib.figure", extra="bench")  # before minutes are spent
    if arguments.source:
        if arguments.resume or arguments.only or arguments.peers or arguments.alone or arguments.smoke:
            raise Unusable("--from measures nothing: it goes with --output alone")
        results = load(arguments.source)
        return finish(results, arguments.output or arguments.source.parent)
    folder = arguments.output or Path("runs/benchmarks")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unusable(f"--output {folder} cannot be a folder: {error.strerror}") from error
    peers, missing = chosen_peers(arguments)
    results = Results(environment(peers, missing), missing, arguments.smoke)
    if arguments.resume:
        results = resumed(folder / RESULTS, results)
    todo = [part for part in parts(arguments, peers) if not part.done(results)]
    try:
        measure_all(todo, results, folder / RESULTS)
        results.complete = not arguments.only
    except KeyboardInterrupt:
        finish(results, folder)
        print("benchmarks: interrupted; the report is of what was measured, --resume goes on", file=sys.stderr)
        return 130
    return finish(results, folder)


def measure_all(todo: Sequence[Part], results: Results, path: Path) -> None:
    """Measure each part, and write the results after each; those that fail are told in them."""
    with progress([part.label for part in todo]) as show:
        for number, part in enumerate(todo):
            show(number)
            try:
                part.run(results)
            except (
                Exception
            ) as error:  # wrong results, peers that refuse, processes that fail: told, and the run goes on
                results.failures.append(f"{part.label}: {type(error).__name__}: {error}")
            results.save(path)


def resumed(path: Path, new: Results) -> Results:
    """The results in a file, if they are of this machine and these versions."""
    if not path.exists():
        return new
    old = load(path)
    pairs = [(name, old.environment.get(name), new.environment.get(name)) for name in new.environment]
    differing = [f"{name} was {a}, is {b}" for name, a, b in pairs if a != b and name != "date"]
    if old.smoke != new.smoke:
        differing.append(f"--smoke was {old.smoke}, is {new.smoke}")
    if differing:
        raise Unusable(f"{path} cannot be resumed: {'; '.join(differing)}")
    old.failures = []  # they are tried again
    return old


def finish(results: Results, folder: Path) -> int:
    """Write the report; 1 where something failed."""
    folder.mkdir(parents=True, exist_ok=True)
    results.save(folder / RESULTS)
    pictures = plots.pictures(results)
    blocks = document.build(results)
    for name, content in pictures.items():
        write(folder / f"{name}.png", content)
    write(folder / "report.md", formats.markdown(blocks, pictures).encode())
    write(folder / "report.html", formats.html(blocks, pictures).encode())
    for failure in results.failures:
        print(f"benchmarks: {failure}", file=sys.stderr)
    print(f"{folder / 'report.html'}, {folder / 'report.md'}, {folder / RESULTS}")
    return 1 if results.failures else 0
