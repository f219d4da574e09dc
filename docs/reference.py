"""Write the API reference of upconv.kernels and upconv.nn, as HTML, into a folder: python docs/reference.py FOLDER.

pdoc makes it of the docstrings. They are plain text, which is turned into Markdown first: the equation in the first
line and the names of arguments become code, and nothing else may turn into emphasis or links.
"""

import re
import sys
from pathlib import Path

import pdoc

import upconv.kernels

# The packages and, of their modules, what is no detail of theirs.
MODULES = ("upconv.kernels", "upconv.nn", r"!upconv\.(kernels|nn)\.(?!(?:init|metrics|schedules)$).*")
ARGUMENTS = re.compile(r"^((?:\w+, )*\w+): ")
SPECIAL = re.compile(r"([\\*_\[\]<>#|~])")


def markdown(text: str) -> str:
    """A docstring as Markdown."""
    first, _, rest = text.partition("\n")
    lines = [f"`{first.replace('`', '')}`" if " = " in first else _escaped(first)]
    example = False
    for line in rest.splitlines():
        example = line.startswith(">>>") or (example and bool(line.strip()))
        found = ARGUMENTS.match(line)
        if example:
            lines.append(line)
        elif found and found[1] not in ("Source", "Raises", "Returns"):
            names = ", ".join(f"`{name}`" for name in found[1].split(", "))
            lines += ["", f"- {names}: {_escaped(line[found.end() :])}"]
        else:
            lines.append(_escaped(line))
    return "\n".join(lines)


def _escaped(line: str) -> str:
    parts = line.split("`")
    parts[::2] = [SPECIAL.sub(r"\\\1", part).replace(r"\<", "&lt;").replace(r"\>", "&gt;") for part in parts[::2]]
    return "`".join(parts)


def main(folder: str) -> None:
    """Write the pages into `folder`."""
    pdoc.render.configure(
        show_source=False,
        include_undocumented=False,
        footer_text=f"upconv {upconv.__version__}",
        template_directory=Path(__file__).parent,
    )
    pdoc.render.env.filters["to_markdown"] = markdown
    pdoc.pdoc(*MODULES, output_directory=Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
