"""The memory that a U-Net takes, forward and training, in upconv and in PyTorch: each in a new process.

The number is the peak of the process' resident memory over three passes, less what was resident once the packages were
imported: the model, the images, all results, and compiled kernels. PyTorch is as it comes, while the other benchmarks
let it keep freed memory. Only on Linux, whose kernel tells (VmHWM; ru_maxrss would not do: a new process inherits it).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from .cases import Network
from .environment import setting
from .options import table
from .results import OURS, Memory
from .shapes import NETWORKS

ENTRANTS = (OURS, "PyTorch NHWC")
PASSES = 3
HEAD = ["network", "", "MiB"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--smoke", action="store_true", help="a tiny network: does everything run?")


def resident(field: str) -> int:
    """Bytes of resident memory as the kernel counts it: VmRSS, now; VmHWM, at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def child(entrant: str, what: str, **network: int) -> None:
    """Print the bytes, in this process."""
    from upconv import kernels

    from . import unet

    if entrant != OURS:
        import torch

        from .peers import pytorch

        torch.set_num_threads(kernels.get_num_threads())
    before = resident("VmRSS")
    prepared = unet.prepare(Network(**network))  # type: ignore[arg-type]
    calls = unet.upconv_calls(*prepared) if entrant == OURS else pytorch.network(*prepared, entrant)
    if entrant != OURS:
        del prepared
    for _ in range(PASSES):
        calls[what == "training step"]()
    print(resident("VmHWM") - before)


def measure(network: Network, entrants: Iterable[str]) -> list[Memory]:
    """Forward and training step, by each of the entrants. Empty where the kernel does not tell."""
    if not Path("/proc/self/status").exists():
        return []
    found: list[Memory] = []
    for what in ("training step", "forward"):
        for entrant in entrants:
            code = f"from benchmarks.memory import child; child({entrant!r}, {what!r}, **{asdict(network)!r})"
            command = [sys.executable, "-c", code]
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            for _ in range(1 + (not found)):  # at first kernels are compiled
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise RuntimeError(f"a process failed:\n{done.stderr}")
            found.append(Memory(network.label, what, entrant, int(done.stdout)))
    return found


def rows(measured: Iterable[Memory]) -> list[list[str]]:
    """Of a table: network, what by whom, MiB."""
    return [[each.case, f"{each.what}, {each.entrant}", f"{each.bytes / 2**20:.0f}"] for each in measured]


def run(arguments: argparse.Namespace) -> int:
    from .peers import installed

    peers, missing = installed(("pytorch",))
    entrants = ENTRANTS if peers else ENTRANTS[:1]
    networks = [NETWORKS[0].small()] if arguments.smoke else NETWORKS
    measured = [each for network in networks for each in measure(network, entrants)]
    print("\n".join([setting(peers), *missing, ""]))
    print(table(HEAD, rows(measured)))
    return 0
