"""rich's console, but a reader that goes away does not end the process: what it says is no longer heard, no more. And
what a terminal would obey in what is said is shown instead."""

from __future__ import annotations

from collections.abc import Iterable

import rich.console
from rich.segment import Segment

from csv2kafka.cli.printable import printable


class Console(rich.console.Console):
    """rich itself would exit with 1 here, whatever the command's own exit code is to be."""

    def on_broken_pipe(self) -> None:
        self.quiet = True

    def render(
        self, renderable: rich.console.RenderableType, options: rich.console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Everything that is shown comes through here; what rich says to the terminal itself is marked as such."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))
