"""The configuration that the library, the command and the deploy wrappers share.

``RunConfig`` declares every option once (``reading`` and ``connecting`` hold the parts that other commands share);
``load`` fills it from flags, environment and TOML file. ``kinds`` are the kinds of value an option can have,
``option`` what is said about each.
"""

from csv2kafka.config.common import GROUPS, CommonConfig
from csv2kafka.config.connecting import ConnectConfig
from csv2kafka.config.layers import load, unknown_variables
from csv2kafka.config.option import PREFIX, Option, options
from csv2kafka.config.reading import ReadConfig
from csv2kafka.config.run import CheckConfig, RunConfig

__all__ = [
    "GROUPS",
    "PREFIX",
    "CheckConfig",
    "CommonConfig",
    "ConnectConfig",
    "Option",
    "ReadConfig",
    "RunConfig",
    "load",
    "options",
    "unknown_variables",
]
