"""No retry, crash, race or throttle loses or doubles usage: found by trying, not by argument."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings

from tests.unit.faults.run import Run
from tests.unit.faults.schedules import Schedule, schedules

# `--hypothesis-profile=faults` makes many runs, other ones each time; else there are few, always the same.
_MANY = settings.get_current_profile_name() == "faults"


@pytest.mark.parametrize("_part", range(4 if _MANY else 1))  # one for each process of pytest-xdist, and more
@settings(settings.get_profile("faults" if _MANY else "few-faults"))
@given(schedule=schedules)
def test_whatever_goes_wrong_all_usage_is_in_exactly_once(
    run_schedule: Callable[[Schedule], Run], _part: int, schedule: Schedule
) -> None:
    run_schedule(schedule)
