"""Alarms, evaluated minute by minute over simulated days."""

import numpy as np
import pytest

from tests.unit.infra.metric_math import Series, Times, evaluated, times_on
from tests.unit.infra.stacks import alarms, synthesize

HOUR = 60
DAY = 24 * HOUR
END = DAY - 1
JOB_READS = 1_000
SOON = -1
"""The end of a time of less than half an hour: how long depends on the data points retrieved."""

Points = dict[int, int]
"""By minute, where there is a data point."""
Case = tuple[dict[str, Series], Times]
"""Metrics, and when the alarm is on."""


def every(minutes: int, value: int, days: int = 1, start: int = 0, end: int | None = None) -> Points:
    return dict.fromkeys(range(start, end or days * DAY, minutes), value)


def by_day_only(traffic: Points) -> Points:
    return {minute: value for minute, value in traffic.items() if 8 * HOUR <= minute % DAY < 18 * HOUR}


def series(points: Points, days: int = 1) -> Series:
    return np.array([points.get(minute, np.nan) for minute in range(days * DAY)], dtype=float)


NONE: Points = {}
HOURLY = every(HOUR, 1, start=30)
MANY = every(1, 100)


def requests(times: Times, answered: Points = NONE, refused: Points = NONE, failed: Points = NONE) -> Case:
    """The stage's metrics: API Gateway counts each request in all of them, as 0 or 1."""
    total = {
        minute: sum(points.get(minute, 0) for points in (answered, refused, failed))
        for minute in answered | refused | failed
    }
    errors, refusals = (series(dict.fromkeys(total, 0) | points) for points in (failed, refused))
    return {"requests": series(total), "errors": errors, "5XXError": errors, "refused": refusals}, times


def metric(name: str, points: Points, times: Times) -> Case:
    return {name: series(points)}, times


def one_is_enough(name: str, usual: int, bad: int) -> dict[str, Case]:
    """Whatever the traffic. A duration is the percentile of five minutes, and a single request's own."""
    return {
        f"{title}, {traffic}": metric(name, points | more, times)
        for traffic, points in {"many": every(5, usual), "hourly": every(HOUR, usual), "none": NONE}.items()
        for title, more, times in (("good", NONE, []), ("one is bad", {600: bad}, [(600, SOON)]))
    }


def job(
    inserted: Points, times: Times, days: int = 2, *, dead: range = range(0), minute: int = 7, takes: int = 3
) -> Case:
    """The records inserted, and marked by an hourly job that marks what it can take, unless it is dead."""
    came_in = series(inserted, days)
    marked: Points = {}
    waiting = 0
    for now in range(days * DAY):
        waiting += inserted.get(now, 0)
        if now % HOUR == minute and now not in dead and waiting and now + takes < days * DAY:
            marked[now + takes] = min(waiting, JOB_READS)
            waiting -= marked[now + takes]
    return {"inserted": came_in, "marked": series(marked, days)}, times


ALL_IS_WELL = {
    "one an hour": requests([], HOURLY),
    "many": requests([], MANY),
    "none": requests([]),
}
CASES: dict[str, dict[str, Case]] = {
    "ServerErrors": ALL_IS_WELL
    | {
        "one an hour, all failed": requests([], failed=HOURLY),
        "one an hour, one failed": requests([], HOURLY, failed={600: 1}),
        "many, one failed": requests([], MANY, failed={600: 1}),
        "many, some failed": requests([(600, SOON)], MANY, failed={600: 30}),
        "a burst, most of it failed": requests([(600, SOON)], {600: 4}, failed={600: 6}),
    },
    "HourOfServerErrors": ALL_IS_WELL
    | {
        "one an hour, all failed": requests([(30, END)], failed=HOURLY),
        "one an hour, one failed": requests([(600, 659)], HOURLY, failed={600: 1}),
        "many, one failed": requests([(600, 659)], MANY, failed={600: 1}),
    },
    "HourOfRefusals": ALL_IS_WELL
    | {
        "one an hour, refused": requests([(30, END)], refused=HOURLY),
        "one, until another is accepted": requests([(600, 899)], {30: 1, 900: 1}, {600: 1}),
        "many refused": requests([(0, END)], refused=MANY),
        "many, from then on": requests([(659, END)], every(1, 100, end=600), every(1, 100, start=600)),
        "many, but not all": requests([], every(50, 1), MANY),
    },
    # A single one's caller gets a 5xx, so HourOfServerErrors sees it.
    "FunctionThrottles": {
        f"{traffic}: {title}": (
            {"t0": series(dict.fromkeys(others, 0) | points), "t1": series(NONE), "t2": series(NONE)},
            times,
        )
        for traffic, others in {"many requests": MANY, "no others": NONE}.items()
        for title, points, times in (
            ("for ten minutes", every(1, 1, start=600, end=610), [(605, SOON)]),
            ("for one minute", {600: 25}, []),
            ("one an hour", HOURLY, []),
            ("none", NONE, []),
        )
    },
    "IncompleteRequests": one_is_enough("IncompleteRequests", 0, 1),
    "InsertMeteringRecordErrors": one_is_enough("Errors", 0, 1),
    "InsertMeteringRecordsErrors": one_is_enough("Errors", 0, 1),
    "ListMeteringRecordsErrors": one_is_enough("Errors", 0, 1),
    "InsertMeteringRecordSlow": one_is_enough("Duration", 4_900, 5_100),
    "InsertMeteringRecordsSlow": one_is_enough("Duration", 18_900, 19_100),
    "ListMeteringRecordsSlow": one_is_enough("Duration", 4_900, 5_100),
    # With three expected hours.
    "NothingInserted": {
        "one an hour": metric("inserted", every(HOUR, 1), []),
        "seldom": metric("inserted", every(175, 1), []),
        "many": metric("inserted", MANY, []),
        "begins": metric("inserted", every(HOUR, 1, start=12 * HOUR), [(0, 12 * HOUR - 1)]),
        "one an hour, stops": metric("inserted", every(HOUR, 1, end=12 * HOUR), [(14 * HOUR, END)]),
        "many, stops": metric("inserted", every(1, 100, end=12 * HOUR), [(15 * HOUR - 1, END)]),
        "none": metric("inserted", NONE, [(0, END)]),
    },
    "HourlyJobSilent": {
        # Three hours after the last record was marked.
        **{
            f"dead, a request every {interval} minutes": job(
                every(interval, 5, 2), [(marked + 3 * HOUR, 2 * DAY - 1)], dead=range(DAY + 30, 2 * DAY)
            )
            for interval, marked in ((1, DAY + 10), (50, DAY + 10), (90, DAY + 10), (170, DAY))
        },
        # Within four hours, until the job is back.
        **{
            f"dead, one batch at minute {minute}": job(
                {12 * HOUR + minute: 300}, [(13 * HOUR + 30 + minute, 2 * DAY + 9)], 3, dead=range(2 * DAY)
            )
            for minute in (0, 6, 7, 8, 59)
        },
        "steady traffic": job(every(1, 3, 2), []),
        "nights without traffic": job(by_day_only(every(5, 20, 2)), []),
        **{f"batch {minute}": job({540 + minute: 500}, []) for minute in (0, 6, 7, 8, 9, 10, 11, 59)},
        **{f"seldom, job {minute}": job(every(95, 5, 2), [], minute=minute) for minute in (0, 29, 59)},
        "a slow job that just misses each batch": job(every(HOUR, 100, 2, start=8), [], takes=14),
        "a burst": job({DAY: 10_000}, []),
        "no traffic at all": job(NONE, []),
    },
    "PendingBacklog": {
        "a burst, until it is worked off": job({DAY: 8 * JOB_READS}, [(DAY + 59, DAY + 7 * HOUR - 2)]),
        "more than the job takes": job(every(1, 20), [(59, END)], 1),
        "a little more": job(every(1, 17, 2), [(7 * HOUR - 1, 2 * DAY - 1)]),
        "a dead job": job(every(1, 8, 2), [(DAY + 2 * HOUR - 1, 2 * DAY - 1)], dead=range(DAY, 2 * DAY)),
        "steady traffic": job(every(1, 15, 2), []),
        "nights without traffic": job(by_day_only(every(1, 15, 2)), []),
        "one batch a day": job(every(DAY, 900, 2, start=9 * HOUR), []),
        "one an hour": job(every(HOUR, 1, 2), []),
        "no traffic at all": job(NONE, []),
    },
}


SERVICE = "cdk-apigw-marketplace-metering-records"
API = {"ApiName": SERVICE, "Stage": {"Ref": "ApiRestApiDeploymentStageprodE828476C"}}
FUNCTIONS = {
    "InsertMeteringRecord": {"FunctionName": {"Ref": "InsertMeteringRecordFunctionBDDBD361"}},
    "InsertMeteringRecords": {"FunctionName": {"Ref": "InsertMeteringRecordsFunction114C9D4E"}},
    "ListMeteringRecords": {"FunctionName": {"Ref": "ListMeteringRecordsFunction216D8A11"}},
}
COUNT = ("AWS/ApiGateway", "Count", API)
INSERTED = ("MarketplaceMetering", "RecordsInserted", {"service": SERVICE})
MARKED_BY_THE_JOB = (
    "AWS/DynamoDB",
    "SuccessfulRequestLatency",
    {"Operation": "UpdateItem", "TableName": "AWSMarketplaceMeteringRecords"},
)
METRICS = {
    "ServerErrors": {"errors": ("AWS/ApiGateway", "5XXError", API), "requests": COUNT},
    "HourOfServerErrors": {None: ("AWS/ApiGateway", "5XXError", API)},
    "HourOfRefusals": {"refused": ("AWS/ApiGateway", "4XXError", API), "requests": COUNT},
    "FunctionThrottles": {
        f"t{number}": ("AWS/Lambda", "Throttles", function)
        for number, function in enumerate(FUNCTIONS.values())
    },
    "IncompleteRequests": {None: ("MarketplaceMetering", "IncompleteRequests", {"service": SERVICE})},
    **{f"{name}Errors": {None: ("AWS/Lambda", "Errors", function)} for name, function in FUNCTIONS.items()},
    **{f"{name}Slow": {None: ("AWS/Lambda", "Duration", function)} for name, function in FUNCTIONS.items()},
    "NothingInserted": {"inserted": INSERTED},
    "HourlyJobSilent": {"inserted": INSERTED, "marked": MARKED_BY_THE_JOB},
    "PendingBacklog": {"inserted": INSERTED, "marked": MARKED_BY_THE_JOB},
}


def test_alarms_read_the_metrics_that_their_names_say() -> None:
    read = {
        name: {
            metric.get("Id"): (
                stat["Namespace"],
                stat["MetricName"],
                {dimension["Name"]: dimension["Value"] for dimension in stat["Dimensions"]},
            )
            for metric in alarm.get("Metrics", [{"MetricStat": {"Metric": alarm}}])
            if "MetricStat" in metric
            for stat in [metric["MetricStat"]["Metric"]]
        }
        for name, alarm in alarms(synthesize(expected_usage_hours=3)).items()
    }
    assert read == METRICS


def test_every_alarm_has_a_series_that_raises_it_and_one_that_does_not() -> None:
    assert set(CASES) == set(alarms(synthesize(expected_usage_hours=3)))
    for cases in CASES.values():
        assert {bool(times) for _, times in cases.values()} == {True, False}


@pytest.mark.parametrize("retrieved", [2, 5])
@pytest.mark.parametrize(("name", "case"), [(name, case) for name, cases in CASES.items() for case in cases])
def test_an_alarm_is_on_at_these_times_only(name: str, case: str, retrieved: int) -> None:
    metrics, times = CASES[name][case]

    found = times_on(alarms(synthesize(expected_usage_hours=3))[name], metrics, retrieved)
    assert [(first, SOON if last < first + 30 else last) for first, last in found] == times


def test_metric_math_follows_the_documentation() -> None:
    known = {"m1": np.array([30.0, 20, 0, 0]), "m2": np.array([20.0, np.nan, 20, np.nan])}

    def values(expression: str) -> list[float | None]:
        metrics = {name: found for name, found in known.items() if name in expression}
        return [None if np.isnan(value) else value for value in evaluated(expression, metrics)]

    assert values("m1 > m2") == [1, 1, 0, 0]
    assert values("m2 >= m1") == [0, 0, 1, 1]
    assert values("(m1 > 15) AND (m2 > 15)") == [1, 0, 0, 0]
    assert values("m1 - m2") == [10, 20, -20, 0]
    assert values("FILL(m2, 7)") == [20, 7, 20, 7]
    assert values("DIFF(m1)") == [None, -10, -20, 0]
    assert values("IF(m1 > 15, 1)") == [1, 1, None, None]
    assert values("IF(m2 > 15, 1, 2)") == [1, None, 1, None]
    assert values("100 * m2 / IF(m1 < 25, 50, m1)") == [pytest.approx(66.67, abs=0.01), 0, 40, 0]
