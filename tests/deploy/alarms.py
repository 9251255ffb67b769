"""Whether a planned CloudWatch alarm goes off, given what came minute by minute.

    raises(state.resource(…), [[0.0], [], [5.0]])       # a list for each minute, the latest last

As CloudWatch does it for a period of a minute: a statistic for each minute in which something came, M of the last N of
which are to be beyond the threshold; minutes in which nothing came count as the alarm says, good or bad.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {"Sum": sum, "Maximum": max, "Minimum": min}
_BEYOND: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_MISSING = {"notBreaching": False, "breaching": True}


def raises(alarm: Mapping[str, Any], minutes: Sequence[Sequence[float]]) -> bool:
    """Whether it is in alarm after these minutes; what came before them was good."""
    assert alarm["period"] == 60, alarm["alarm_name"]
    statistic, beyond = _STATISTICS[alarm["statistic"]], _BEYOND[alarm["comparison_operator"]]
    missing = _MISSING[alarm["treat_missing_data"]]
    looked_at = list(minutes)[-int(alarm["evaluation_periods"]) :]
    bad = [beyond(statistic(values), alarm["threshold"]) if values else missing for values in looked_at]
    return sum(bad) >= int(alarm["datapoints_to_alarm"])
