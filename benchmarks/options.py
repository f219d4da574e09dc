"""Options that several commands have, and the tables that they print."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from . import peers


def positive(text: str) -> int:
    """An integer from 1 on."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"an integer from 1 on is needed, got {text!r}")
    return value


def add_measuring(parser: argparse.ArgumentParser, rounds: int = 5) -> None:
    """--rounds, --peers, --alone, --smoke."""
    parser.add_argument("--rounds", type=positive, default=rounds, help=f"rounds of 3 calls each ({rounds})")
    beside = parser.add_mutually_exclusive_group()
    beside.add_argument(
        "--peers",
        nargs="+",
        choices=tuple(peers.PACKAGES),
        metavar="NAME",
        help=f"what to compare with, of {', '.join(peers.PACKAGES)} (default: all that are installed)",
    )
    beside.add_argument("--alone", action="store_true", help="compare with nothing")
    parser.add_argument("--smoke", action="store_true", help="tiny cases, one round: does everything run?")


def chosen_peers(arguments: argparse.Namespace) -> tuple[list[Any], list[str]]:
    """(the peers to compare with, a sentence for each that is missing). Raises ImportError for one that was named."""
    if arguments.alone:
        return [], []
    if arguments.peers:
        return [peers.load(name) for name in arguments.peers], []
    return peers.installed()


def table(head: list[str], rows: Iterable[list[str]], left: int = 2) -> str:
    """A Markdown table; what follows the first `left` columns is set to the right."""
    lines = [head, ["---"] * left + ["--:"] * (len(head) - left), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
