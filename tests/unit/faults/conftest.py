"""Fixtures of the fault schedules, and a summary at the end of the session."""

from __future__ import annotations

import logging
from collections import Counter

from tests.environment import create_tables

# isort: split
from collections.abc import Callable, Iterator

import boto3
import pytest
from hypothesis import HealthCheck, Phase, settings
from mypy_boto3_dynamodb import DynamoDBClient
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

from metering_handlers.http.resolver import metrics
from metering_handlers.inserting import writer
from tests.unit.faults.engine import SUBSCRIBERS_TABLE_NAME, running_engine
from tests.unit.faults.faults import Fault
from tests.unit.faults.run import Run
from tests.unit.faults.schedules import Schedule

_TALLY = pytest.StashKey[Counter[str]]()
"""What came about in the session, and how often; also in xdist's workers."""

# Without the phase "explain", which takes minutes and says less than the schedule's log.
_PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
settings.register_profile(
    "faults",
    max_examples=2_500,
    deadline=None,
    phases=_PHASES,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("few-faults", settings.get_profile("faults"), max_examples=250, derandomize=True)


@pytest.fixture(scope="module")
def run_schedule(pytestconfig: pytest.Config) -> Iterator[Callable[[Schedule], Run]]:
    """Run a schedule on emptied tables, with two small chunks in parallel."""
    with running_engine() as engine, pytest.MonkeyPatch.context() as patched:
        patched.setattr(writer, "WRITE_PARALLELISM", 2)
        # Thousands of log lines would hide a failing schedule.
        patched.setattr(metrics, "flush_metrics", metrics.clear_metrics)
        logging.disable(logging.INFO)
        client = boto3.client("dynamodb")
        create_tables(client)
        client.create_table(
            TableName=SUBSCRIBERS_TABLE_NAME,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "customerIdentifier", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "customerIdentifier", "KeyType": "HASH"}],
        )

        def run_schedule(schedule: Schedule) -> Run:
            run = Run(engine, client, pytestconfig.stash[_TALLY])
            run.run(schedule)
            return run

        yield run_schedule
        logging.disable(logging.NOTSET)


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoDBClient]:
    """Create the tables, for functions without injected faults."""
    # moto is not thread-safe.
    monkeypatch.setattr(writer, "WRITE_PARALLELISM", 1)
    with running_engine():
        client = boto3.client("dynamodb")
        create_tables(client)
        yield client


def pytest_configure(config: pytest.Config) -> None:
    # What has to be 0, and which faults there are, shows in any case.
    config.stash[_TALLY] = Counter(
        {"lost": 0, "doubled": 0, **{f"fault: {fault.value}": 0 for fault in Fault}}
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    # Only xdist's workers have this.
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        tally = session.config.stash[_TALLY]
        output["tally"] = dict(tally)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController) -> None:
    # A worker that crashed has left nothing.
    if (output := getattr(node, "workeroutput", None)) is not None:
        node.config.stash[_TALLY].update(output["tally"])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tally = config.stash[_TALLY]
    if tally["schedules"]:
        terminalreporter.section("injected faults")
        for name, count in sorted(tally.items()):
            terminalreporter.write_line(f"{count:>10,}  {name}")
