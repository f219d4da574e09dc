"""`python -m benchmarks COMMAND`: one module here for each command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from .results import Unusable

COMMANDS = ("report", "layers", "maps", "unet", "startup", "memory", "loss-curve", "fit", "quadrants", "choice", "gpu")


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line on stderr."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, and exit with 2."""
        self.exit(2, f"benchmarks: {message} (help: {self.prog} --help)\n")


def parser() -> Parser:
    """The command line: each module tells its story in its docstring and adds its own options."""
    top = Parser(prog="python -m benchmarks", description=import_module(__package__).__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f"{__package__}.{name.replace('-', '_')}")
        command = commands.add_parser(
            name,
            help=str(module.__doc__).partition("\n")[0],
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("--threads", type=int, help="threads to compute with (default: all cores)")
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 2 for what the user can mend, 130 after Ctrl-C."""
    line = parser()
    arguments = line.parse_args(argv)
    if arguments.threads is not None:
        from upconv import kernels

        try:
            kernels.set_num_threads(arguments.threads)
        except ValueError as error:
            line.error(str(error))
        os.environ["UPCONV_NUM_THREADS"] = str(arguments.threads)  # for processes that are started from here
    try:
        return arguments.run(arguments)
    except Unusable as error:
        text = str(error)
    except ImportError as error:
        plain = f"this needs {error.name}, which is not installed: pip install {error.name}"
        text = str(error) if "pip install" in str(error) or not error.name else plain
    except KeyboardInterrupt:
        print("benchmarks: interrupted", file=sys.stderr)
        return 130
    print(f"benchmarks: {text}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
