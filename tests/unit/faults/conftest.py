"""Fixtures of the fault schedules, and a summary at the end of the session."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from moto import mock_aws
from moto.dynamodb.models.table import Table
from mypy_boto3_dynamodb import DynamoDBClient
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

from metering_handlers.http.resolver import metrics
from metering_handlers.inserting import writer
from tests.environment import create_table, create_tables
from tests.unit.faults.engine import SUBSCRIBERS_TABLE_NAME, snapshot
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


@pytest.fixture(scope="module", autouse=True)
def patched() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Table, "__deepcopy__", snapshot, raising=False)
        yield patched


@pytest.fixture(scope="module")
def run_schedule(
    patched: pytest.MonkeyPatch, pytestconfig: pytest.Config, dynamodb_client: DynamoDBClient
) -> Iterator[Callable[[Schedule], Run]]:
    """Run a schedule on emptied tables, with two small chunks in parallel."""
    patched.setattr(writer, "WRITE_PARALLELISM", 2)
    # Thousands of log lines would hide a failing schedule.
    patched.setattr(metrics, "flush_metrics", metrics.clear_metrics)
    logging.disable(logging.INFO)

    def run_schedule(schedule: Schedule) -> Run:
        run = Run(dynamodb_client, pytestconfig.stash[_TALLY], schedule)
        run.run()
        return run

    with mock_aws():
        create_tables(dynamodb_client)
        create_table(dynamodb_client, SUBSCRIBERS_TABLE_NAME, "customerIdentifier")
        yield run_schedule
    logging.disable(logging.NOTSET)


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
