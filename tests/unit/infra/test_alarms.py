"""Alarms, evaluated minute by minute over simulated days."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest

from tests.unit.infra.metric_math import SimulatedAlarm, TimeSeries, Value, evaluated
from tests.unit.infra.stacks import synthesize
from tests.unit.infra.test_operations import alarms

HOUR = 60
DAY = 24 * HOUR
JOB_READS = 1_000

Series = dict[int, int]
"""By minute, where there is a data point."""
Times = list[tuple[int, int]]
"""The first and the last minute of each time that an alarm is on."""
AlarmTimes = Callable[[str, Mapping[str, Sequence[Value]]], Times]


def every(minutes: int, value: int, days: int, start: int = 0) -> Series:
    return dict.fromkeys(range(start, days * DAY, minutes), value)


def by_day_only(traffic: Series) -> Series:
    return {minute: value for minute, value in traffic.items() if 8 * HOUR <= minute % DAY < 18 * HOUR}


def minutes(series: Series, days: int) -> list[Value]:
    return [series.get(minute) for minute in range(days * DAY)]


def on_between(states: Sequence[bool]) -> Times:
    found = []
    for is_on, group in groupby(enumerate(states), key=lambda pair: pair[1]):
        numbers = [minute for minute, _ in group]
        if is_on:
            found.append((numbers[0], numbers[-1]))
    return found


@pytest.fixture(params=[2, 5], ids=lambda points: f"{points} data points retrieved")
def alarm_times(request: pytest.FixtureRequest) -> AlarmTimes:
    def times(name: str, metrics: Mapping[str, Sequence[Value]]) -> Times:
        alarm = SimulatedAlarm.from_template(alarms(synthesize(expected_usage_hours=3))[name])
        return on_between(list(alarm.states(metrics, request.param)))

    return times


def requests(answered: Series, refused: Series, failed: Series) -> dict[str, list[Value]]:
    """The stage's metrics: API Gateway counts each request in all of them, as 0 or 1."""
    total = {
        minute: sum(series.get(minute, 0) for series in (answered, refused, failed))
        for minute in {**answered, **refused, **failed}
    }
    errors, refusals = ({minute: series.get(minute, 0) for minute in total} for series in (failed, refused))
    return {
        "requests": minutes(total, 1),
        "errors": minutes(errors, 1),
        "5XXError": minutes(errors, 1),
        "refused": minutes(refusals, 1),
    }


HOURLY = every(HOUR, 1, 1, start=30)
MANY = every(1, 100, 1)


@pytest.mark.parametrize(
    ("failed", "answered", "is_high_rate"),
    [
        (HOURLY, {}, False),
        ({600: 1}, HOURLY, False),
        ({600: 1}, MANY, False),
        ({600: 30}, MANY, True),
        ({600: 6}, {600: 4}, True),
        ({}, HOURLY, False),
        ({}, MANY, False),
        ({}, {}, False),
    ],
    ids=[
        *("one an hour, all failed", "one an hour, one failed", "many, one failed", "many, some failed"),
        *("a burst, most of it failed", "one an hour", "many", "none"),
    ],
)
def test_failed_requests_of_small_and_large_sellers(
    alarm_times: AlarmTimes, failed: Series, answered: Series, is_high_rate: bool
) -> None:
    metrics = requests(answered, {}, failed)

    assert bool(alarm_times("ServerErrors", metrics)) is is_high_rate
    assert [first for first, _ in alarm_times("HourOfServerErrors", metrics)] == sorted(failed)[:1]


@pytest.mark.parametrize(
    ("refused", "answered", "times"),
    [
        (HOURLY, {}, [(30, DAY - 1)]),
        ({600: 1}, {30: 1, 900: 1}, [(600, 899)]),
        (every(1, 100, 1), {}, [(0, DAY - 1)]),
        (
            every(1, 100, 1, start=600),
            {**every(1, 100, 1), **dict.fromkeys(range(600, DAY), 0)},
            [(659, DAY - 1)],
        ),
        (every(1, 100, 1), every(50, 1, 1), []),
        ({}, HOURLY, []),
        ({}, MANY, []),
        ({}, {}, []),
    ],
    ids=[
        *("one an hour", "one, until another is accepted", "many", "many, from then on"),
        *("many, but not all", "one an hour, accepted", "many accepted", "none"),
    ],
)
def test_an_hour_of_refusals(
    alarm_times: AlarmTimes, refused: Series, answered: Series, times: Times
) -> None:
    assert alarm_times("HourOfRefusals", requests(answered, refused, {})) == times


@pytest.mark.parametrize(
    ("inserted", "times"),
    [
        (every(HOUR, 1, 1), []),
        (every(175, 1, 1), []),
        (every(1, 100, 1), []),
        (every(HOUR, 1, 1, start=12 * HOUR), [(0, 12 * HOUR - 1)]),
        (dict.fromkeys(range(0, 12 * HOUR, HOUR), 1), [(14 * HOUR, DAY - 1)]),
        (dict.fromkeys(range(12 * HOUR), 100), [(15 * HOUR - 1, DAY - 1)]),
        ({}, [(0, DAY - 1)]),
    ],
    ids=["one an hour", "seldom", "many", "begins", "one an hour, stops", "many, stops", "none"],
)
def test_nothing_inserted_for_the_expected_hours(
    alarm_times: AlarmTimes, inserted: Series, times: Times
) -> None:
    assert alarm_times("NothingInserted", {"inserted": minutes(inserted, 1)}) == times


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("IncompleteRequests", "IncompleteRequests"),
        ("InsertMeteringRecordErrors", "Errors"),
        ("InsertMeteringRecordsErrors", "Errors"),
        ("ListMeteringRecordsErrors", "Errors"),
    ],
)
@pytest.mark.parametrize(
    "metered", [HOURLY, MANY, {}, {600: 1}], ids=["one an hour", "many", "none", "a single one"]
)
def test_one_failure_is_enough_whatever_the_traffic(
    alarm_times: AlarmTimes, name: str, metric: str, metered: Series
) -> None:
    failed = {**dict.fromkeys(metered, 0), 600: 1}

    assert alarm_times(name, {metric: minutes(dict.fromkeys(metered, 0), 1)}) == []
    ((first, last),) = alarm_times(name, {metric: minutes(failed, 1)})
    assert 600 == first < last < 630


@pytest.mark.parametrize(
    ("name", "usual_ms", "slow_ms"),
    [
        ("InsertMeteringRecordSlow", 4_900, 5_100),
        ("InsertMeteringRecordsSlow", 18_900, 19_100),
        ("ListMeteringRecordsSlow", 4_900, 5_100),
    ],
)
@pytest.mark.parametrize("interval", [5, HOUR], ids=["many", "one an hour"])
def test_one_slow_request_an_hour_is_noticed(
    alarm_times: AlarmTimes, name: str, usual_ms: int, slow_ms: int, interval: int
) -> None:
    """A value is the percentile of five minutes, which of a single request is its duration."""
    usual = every(interval, usual_ms, 1)

    assert alarm_times(name, {"Duration": minutes(usual, 1)}) == []
    slow = usual | {10 * HOUR: slow_ms}
    assert [first for first, _ in alarm_times(name, {"Duration": minutes(slow, 1)})] == [10 * HOUR]


@pytest.mark.parametrize(
    ("throttled", "is_noticed"),
    [
        (dict.fromkeys(range(600, 610), 1), True),
        ({600: 25}, False),
        (HOURLY, False),
        ({}, False),
    ],
    ids=["for ten minutes", "for one minute", "one an hour", "none"],
)
@pytest.mark.parametrize("traffic", [MANY, {}], ids=["many requests", "no others"])
def test_throttled_functions(
    alarm_times: AlarmTimes, throttled: Series, is_noticed: bool, traffic: Series
) -> None:
    """The caller gets a 5xx, so that HourOfServerErrors sees the single one too."""
    counted = {"t0": minutes(dict.fromkeys(traffic, 0) | throttled, 1), "t1": minutes({}, 1)}
    counted["t2"] = counted["t1"]

    assert bool(alarm_times("FunctionThrottles", counted)) is is_noticed
    assert bool(alarm_times("HourOfServerErrors", requests({}, {}, throttled))) is bool(throttled)


def test_every_alarm_has_its_series() -> None:
    """One that raises it and one that must not."""
    source = Path(__file__).read_text(encoding="utf-8")

    assert [name for name in alarms(synthesize(expected_usage_hours=3)) if f'"{name}"' not in source] == []


@dataclass
class Timeline:
    """Simulated days: the records inserted in each minute, and when the job runs."""

    days: int
    inserted: Series
    job_dies: int | None = None
    job_returns: int | None = None
    job_minute: int = 7
    job_takes_minutes: int = 3

    def metrics(self) -> dict[str, list[Value]]:
        """The metrics, minute by minute, with an hourly job that marks what it can take."""
        inserted = minutes(self.inserted, self.days)
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


@pytest.mark.parametrize("interval", [1, 50, 90, 170])
def test_a_dead_job_is_noticed_within_four_hours(alarm_times: AlarmTimes, interval: int) -> None:
    metrics = Timeline(2, every(interval, 5, 2), job_dies=DAY + 30).metrics()

    ((first, last),) = alarm_times("HourlyJobSilent", metrics)

    last_marked = max(minute for minute, value in enumerate(metrics["marked"]) if value)
    assert last_marked + 3 * HOUR <= first <= last_marked + 3 * HOUR + interval
    assert last == 2 * DAY - 1


@pytest.mark.parametrize("sent_at", [0, 6, 7, 8, 59])
def test_one_batch_is_enough_to_notice_a_dead_job(alarm_times: AlarmTimes, sent_at: int) -> None:
    sent = 12 * HOUR + sent_at
    timeline = Timeline(3, {sent: 300}, job_dies=0, job_returns=2 * DAY)

    ((first, last),) = alarm_times("HourlyJobSilent", timeline.metrics())

    assert first <= sent + 4 * HOUR
    assert 2 * DAY <= last < 2 * DAY + HOUR


@pytest.mark.parametrize(
    "timeline",
    [
        Timeline(2, every(1, 3, 2)),
        Timeline(2, by_day_only(every(5, 20, 2))),
        *(Timeline(2, {9 * HOUR + minute: 500}) for minute in (0, 6, 7, 8, 9, 10, 11, 59)),
        *(Timeline(2, every(95, 5, 2), job_minute=minute) for minute in (0, 29, 59)),
        Timeline(2, every(HOUR, 100, 2, start=8), job_takes_minutes=14),
        Timeline(2, {DAY: 10_000}),
        Timeline(2, {}),
    ],
    ids=[
        "steady traffic",
        "nights without traffic",
        *(f"one batch, at minute {minute}" for minute in (0, 6, 7, 8, 9, 10, 11, 59)),
        *(f"a record every 95 minutes, the job at minute {minute}" for minute in (0, 29, 59)),
        "a slow job that just misses each batch",
        "a burst",
        "no traffic at all",
    ],
)
def test_a_job_that_marks_is_never_called_silent(alarm_times: AlarmTimes, timeline: Timeline) -> None:
    assert alarm_times("HourlyJobSilent", timeline.metrics()) == []


def test_a_burst_is_a_backlog_until_it_is_worked_off(alarm_times: AlarmTimes) -> None:
    ((first, last),) = alarm_times("PendingBacklog", Timeline(2, {DAY: 8 * JOB_READS}).metrics())

    assert first < DAY + HOUR
    assert DAY + 6 * HOUR < last < DAY + 9 * HOUR


@pytest.mark.parametrize(
    "timeline",
    [
        Timeline(1, every(1, 20, 1)),
        Timeline(2, every(1, 17, 2)),
        Timeline(2, every(1, 8, 2), job_dies=DAY),
    ],
    ids=["more than the job takes", "a little more", "a dead job"],
)
def test_records_that_pile_up_are_a_backlog(alarm_times: AlarmTimes, timeline: Timeline) -> None:
    ((first, last),) = alarm_times("PendingBacklog", timeline.metrics())

    assert first < last == timeline.days * DAY - 1


@pytest.mark.parametrize(
    "inserted",
    [
        every(1, 15, 2),
        by_day_only(every(1, 15, 2)),
        every(DAY, 900, 2, start=9 * HOUR),
        every(HOUR, 1, 2),
        {},
    ],
    ids=["steady traffic", "nights without traffic", "one batch a day", "one an hour", "no traffic at all"],
)
def test_what_the_job_takes_within_the_hour_is_no_backlog(alarm_times: AlarmTimes, inserted: Series) -> None:
    assert alarm_times("PendingBacklog", Timeline(2, inserted).metrics()) == []


def test_metric_math_follows_the_documentation() -> None:
    series = {"m1": TimeSeries([30, 20, 0, 0]), "m2": TimeSeries([20, None, 20, None])}

    def values(expression: str) -> list[Value]:
        return evaluated(expression, series).values

    assert values("m1 > m2") == [1, 1, 0, 0]
    assert values("m2 >= m1") == [0, 0, 1, 1]
    assert values("(m1 > 15) AND (m2 > 15)") == [1, 0, 0, 0]
    assert values("m1 - m2") == [10, 20, -20, 0]
    assert values("FILL(m2, 7)") == [20, 7, 20, 7]
    assert values("DIFF(m1)") == [None, -10, -20, 0]
    assert values("IF(m1 > 15, 1)") == [1, 1, None, None]
    assert values("IF(m2 > 15, 1, 2)") == [1, None, 1, None]
    assert values("100 * m2 / IF(m1 < 25, 50, m1)") == [pytest.approx(66.67, abs=0.01), 0, 40, 0]
