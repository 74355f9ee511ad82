"""The alarms on the hourly job, evaluated minute by minute over simulated days."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import pytest
from aws_cdk.assertions import Template

from tests.unit.infra.metric_math import SimulatedAlarm, TimeSeries, Value, evaluated
from tests.unit.infra.test_operations import alarms

HOUR = 60
DAY = 24 * HOUR
JOB_READS = 6_100
"""Records of one dimension in one page of the index of pending records."""


@dataclass
class Timeline:
    """Simulated days: the records inserted in each minute, and when the job runs."""

    days: int
    inserted: dict[int, int] = field(default_factory=dict)
    job_dies: int | None = None
    job_returns: int | None = None
    job_minute: int = 7
    job_takes_minutes: int = 3

    def metrics(self) -> dict[str, list[Value]]:
        """The metrics, minute by minute, with an hourly job that marks what it can read."""
        inserted: list[Value] = [self.inserted.get(minute) for minute in range(self.days * DAY)]
        marked: list[Value] = [None] * len(inserted)
        waiting = 0
        for minute, records in enumerate(inserted):
            waiting += int(records or 0)
            end = minute + self.job_takes_minutes
            if self._job_runs(minute) and waiting and end < len(marked):
                read = min(waiting, JOB_READS)
                waiting -= read
                marked[end] = read
        return {"inserted": inserted, "marked": marked}

    def _job_runs(self, minute: int) -> bool:
        is_dead = (
            self.job_dies is not None
            and minute >= self.job_dies
            and (self.job_returns is None or minute < self.job_returns)
        )
        return minute % HOUR == self.job_minute and not is_dead


def every(minutes: int, records: int, days: int, start: int = 0) -> dict[int, int]:
    return dict.fromkeys(range(start, days * DAY, minutes), records)


def by_day_only(traffic: dict[int, int]) -> dict[int, int]:
    return {minute: records for minute, records in traffic.items() if 8 * HOUR <= minute % DAY < 18 * HOUR}


def on_between(states: Sequence[bool]) -> list[tuple[int, int]]:
    """The first and the last minute of each time that an alarm is on."""
    found = []
    for is_on, group in groupby(enumerate(states), key=lambda pair: pair[1]):
        minutes = [minute for minute, _ in group]
        if is_on:
            found.append((minutes[0], minutes[-1]))
    return found


AlarmTimes = Callable[[str, Timeline], list[tuple[int, int]]]


@pytest.fixture(params=[2, 3, 5], ids=lambda points: f"{points} data points retrieved")
def alarm_times(template: Template, request: pytest.FixtureRequest) -> AlarmTimes:
    def times(name: str, timeline: Timeline) -> list[tuple[int, int]]:
        alarm = SimulatedAlarm.from_template(alarms(template)[name])
        return on_between(list(alarm.states(timeline.metrics(), request.param)))

    return times


@pytest.mark.parametrize("interval", [1, 5, 50, 90, 170])
def test_a_job_that_dies_under_steady_traffic_is_told_within_four_hours(
    alarm_times: AlarmTimes, interval: int
) -> None:
    dies = DAY + 30
    timeline = Timeline(3, every(interval, 5, 3), job_dies=dies)

    ((first, last),) = alarm_times("HourlyJobSilent", timeline)

    last_marked = max(minute for minute, value in enumerate(timeline.metrics()["marked"]) if value)
    assert last_marked + 3 * HOUR <= first <= last_marked + 3 * HOUR + interval
    assert last == 3 * DAY - 1


@pytest.mark.parametrize("sent_at", [0, 6, 7, 8, 30, 59])
def test_a_job_that_died_before_a_single_batch_is_told_within_four_hours_until_it_marks_again(
    alarm_times: AlarmTimes, sent_at: int
) -> None:
    sent = DAY + sent_at
    timeline = Timeline(4, {sent: 300}, job_dies=0, job_returns=3 * DAY)

    ((first, last),) = alarm_times("HourlyJobSilent", timeline)

    assert first <= sent + 4 * HOUR
    assert 3 * DAY <= last < 3 * DAY + HOUR


@pytest.mark.parametrize(
    "timeline",
    [
        Timeline(3, every(1, 3, 3)),
        Timeline(3, by_day_only(every(5, 20, 3))),
        *(Timeline(3, every(DAY, 500, 3, start=9 * HOUR + minute)) for minute in (0, 6, 7, 8, 9, 10, 11, 59)),
        *(Timeline(3, every(95, 5, 3), job_minute=minute) for minute in (0, 29, 59)),
        Timeline(3, every(HOUR, 100, 3, start=8), job_takes_minutes=14),
        Timeline(3, {DAY: 50_000}),
        Timeline(3, {}),
    ],
    ids=[
        "steady traffic",
        "nights without traffic",
        *(f"one batch a day, at minute {minute}" for minute in (0, 6, 7, 8, 9, 10, 11, 59)),
        *(f"a record every 95 minutes, the job at minute {minute}" for minute in (0, 29, 59)),
        "a slow job that just misses each batch",
        "a burst of 50,000",
        "no traffic at all",
    ],
)
def test_a_job_that_marks_is_never_called_silent(alarm_times: AlarmTimes, timeline: Timeline) -> None:
    assert alarm_times("HourlyJobSilent", timeline) == []


def test_a_burst_that_the_job_cannot_read_in_an_hour_is_told_until_it_is_worked_off(
    alarm_times: AlarmTimes,
) -> None:
    ((first, last),) = alarm_times("PendingBacklog", Timeline(3, {DAY: 50_000}))

    assert first < DAY + HOUR
    # 50,000 less 6,100 in each of eight runs.
    assert DAY + 7 * HOUR < last < DAY + 9 * HOUR


@pytest.mark.parametrize(("records_a_minute", "days"), [(118, 1), (105, 2)])
def test_traffic_a_little_above_what_the_job_reads_is_told_in_the_end(
    alarm_times: AlarmTimes, records_a_minute: int, days: int
) -> None:
    too_much = every(1, records_a_minute, days)

    ((first, last),) = alarm_times("PendingBacklog", Timeline(days, too_much))

    assert first < last == days * DAY - 1


def test_a_dead_job_lets_the_backlog_be_told_too(alarm_times: AlarmTimes) -> None:
    timeline = Timeline(3, every(1, 50, 3), job_dies=DAY)

    assert [last for _, last in alarm_times("PendingBacklog", timeline)] == [3 * DAY - 1]


@pytest.mark.parametrize(
    "timeline",
    [
        Timeline(3, every(1, 90, 3)),
        Timeline(3, by_day_only(every(1, 90, 3))),
        Timeline(3, every(DAY, 5_900, 3, start=9 * HOUR)),
        Timeline(3, {}),
    ],
    ids=["steady traffic", "nights without traffic", "one batch a day", "no traffic at all"],
)
def test_what_the_job_reads_within_the_hour_is_no_backlog(
    alarm_times: AlarmTimes, timeline: Timeline
) -> None:
    assert alarm_times("PendingBacklog", timeline) == []


def test_metric_math_is_as_the_documentation_has_it() -> None:
    series = {"m1": TimeSeries([30, 20, 0, 0]), "m2": TimeSeries([20, None, 20, None])}

    def values(expression: str) -> list[Value]:
        return evaluated(expression, series).values

    assert values("m1 > m2") == [1, 1, 0, 0]
    assert values("(m1 > 15) AND (m2 > 15)") == [1, 0, 0, 0]
    assert values("m1 - m2") == [10, 20, -20, 0]
    assert values("FILL(m2, 7)") == [20, 7, 20, 7]
    assert values("DIFF(m1)") == [None, -10, -20, 0]
    assert values("IF(m1 > 15, 1)") == [1, 1, None, None]
    assert values("IF(m2 > 15, 1, 2)") == [1, None, 1, None]
