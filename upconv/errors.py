"""What goes wrong by what the user gave."""

from collections.abc import Sequence


class InputError(ValueError):
    """What the user gave cannot be used. `problems`: everything that is wrong with it, one sentence each."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        """Keep one sentence, or several."""
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))
