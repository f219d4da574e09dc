"""`python -m benchmarks COMMAND`: one module here for each command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = ("layers", "maps", "unet", "startup", "loss-curve", "quadrants", "choice")


def parser() -> argparse.ArgumentParser:
    """The command line: each module tells its story in its docstring and adds its own options."""
    top = argparse.ArgumentParser(prog="python -m benchmarks", description=import_module(__package__).__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f"{__package__}.{name.replace('-', '_')}")
        command = commands.add_parser(
            name,
            help=module.__doc__.partition("\n")[0],
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("--threads", type=int, help="threads to compute with (default: all cores)")
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status, 2 where a package is missing."""
    arguments = parser().parse_args(argv)
    if arguments.threads:
        from upconv import kernels

        kernels.set_num_threads(arguments.threads)
        os.environ["UPCONV_NUM_THREADS"] = str(arguments.threads)  # for processes that are started from here
    try:
        return arguments.run(arguments)
    except ImportError as error:
        text = str(error)
        if error.name == "torch":
            text = "this compares with PyTorch, which is not installed: pip install torch"
        print(f"benchmarks: {text}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
