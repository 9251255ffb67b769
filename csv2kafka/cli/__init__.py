"""The ``csv2kafka`` command. ``app`` has the group and the way out, each command is a module of its own.

Only here are signals handled, logging set up, the environment read and exit codes given.
"""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """What the installed ``csv2kafka`` calls."""
    from csv2kafka.cli.app import execute, leave

    leave(execute(sys.argv[1:]))
