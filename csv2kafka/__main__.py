"""``python -m csv2kafka`` is ``csv2kafka``."""

from csv2kafka.cli import main

main()
