"""rich's console, but a reader that goes away does not end the process: what it says is no longer heard, no more."""

from __future__ import annotations

import rich.console


class Console(rich.console.Console):
    """rich itself would exit with 1 here, whatever the command's own exit code is to be."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
