"""``python -m tools.benchmarks``: measure, and write ``results.json`` and ``results.svg`` here."""

from __future__ import annotations

import json
import os
import platform
import py_compile
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import IO, TYPE_CHECKING, Any, cast

from infra.bundling import REQUIREMENTS, SOURCE, Target, bundle
from infra.byte_code import find_interpreter
from tools.benchmarks.chart import draw

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results.json")
PICTURE = Path(__file__).with_name("results.svg")
_COLD_STARTS = 15
_STOP_SECONDS = 10
_LIMIT_SCENARIOS = (
    ("6", "10000", "many", "short"),
    ("3", "10000", "many", "short"),
    ("30", "1000", "many", "short"),
    ("2", "10000", "many", "short"),
    ("1", "10000", "one", "short"),
    ("1", "10000", "many", "short"),
    ("1", "99", "one", "long"),
)
"""Requests at once, records in each, customers, and dimensions; the longest first."""

Result = dict[str, float | str]


def main() -> None:
    """Measure everything; it takes a few minutes."""
    with tempfile.TemporaryDirectory() as folder, _stub() as endpoint_url:
        shipped = Path(folder) / "shipped"
        shipped.mkdir()
        _say("bundling the functions")
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        bundle(Target(f"manylinux2014_{platform.machine()}", version), find_interpreter(version), shipped)
        full = Path(folder) / "full"
        _install(full)
        environment = _environment(shipped, endpoint_url)
        results = {
            **_cold_starts(environment, full),
            **_peer(full, environment),
            "warm.insert_one": _beside("warm_insert_one", "ms CPU", environment),
            "bulk.vs_batch_writer": _beside("bulk_beside_batch_writer", "records/s", environment),
            "bulk.vs_ceiling": _beside("bulk_beside_ceiling", "records/s", environment),
            "bulk.growth": _beside("bulk_growth", "ms CPU a record", environment),
            "bulk.memory": _bulk_memory(environment),
            "list.page": _beside("list_page", "ms CPU a record", environment),
            "list.totals": _beside("list_totals", "ms CPU a record", environment),
            "list.depth": _beside("list_depth", "ms", environment),
            "package.size": _result([(_bytes_in(shipped), _bytes_in(full))], "bytes"),
            **_limits(environment),
        }
    machine = {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": os.cpu_count() or 0,
    }
    RESULTS.write_text(json.dumps({**results, "machine": machine}, indent=2) + "\n")
    draw(results, PICTURE)
    for key, result in results.items():
        _say(
            f"{key:24} {result['ratio']:6.2f}  ({result['low']:.2f} to {result['high']:.2f})"
            f"  {result['ours']:10.4g} beside {result['reference']:.4g} {result['unit']}"
        )


@contextmanager
def _stub(*options: str) -> Iterator[str]:
    process = subprocess.Popen(  # noqa: S603 - this package's own module
        [sys.executable, "-m", "tools.benchmarks.dynamodb_stub", *options],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield f"http://127.0.0.1:{int(cast('IO[str]', process.stdout).readline())}"
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(shipped: Path, endpoint_url: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(shipped), str(PROJECT)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint_url,
        # The functions ship without awscrt, which this environment has for `aws login`.
        "BOTO_DISABLE_CRT": "true",
        "METERING_TABLE_NAME": "AWSMarketplaceMeteringRecords",
        "IDEMPOTENCY_TABLE_NAME": "idempotency",
        "IDEMPOTENCY_HOURS": "24",
        "POWERTOOLS_SERVICE_NAME": "metering-api",
        "POWERTOOLS_METRICS_NAMESPACE": "MarketplaceMetering",
        "POWERTOOLS_LOG_LEVEL": "INFO",
    }


def _measure(environment: dict[str, str], *arguments: str) -> Any:  # noqa: ANN401 - what the measure prints
    finished = subprocess.run(  # noqa: S603 - this package's own module
        [sys.executable, "-m", "tools.benchmarks.measured", *arguments],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(finished.stdout)


def _cold_starts(environment: dict[str, str], full: Path) -> dict[str, Result]:
    bare = full.with_name("bare")
    shutil.copytree(full, bare, ignore=shutil.ignore_patterns("__pycache__"))
    environments = {
        "reference": environment,
        "insert_one": environment,
        "insert_many": environment,
        "list": environment,
        "peer": _with_path(environment, full),
        "peer without byte code": _with_path(environment, bare),
    }
    starts: dict[str, list[dict[str, float]]] = {kind: [] for kind in environments}
    for number in range(_COLD_STARTS):
        _say(f"cold starts, {number + 1} of {_COLD_STARTS}")
        for kind, of_kind in environments.items():
            starts[kind].append(_measure(of_kind, "cold_start", kind.split(maxsplit=1)[0]))

    def beside(kind: str, reference: str) -> Result:
        pairs = [(a["ms"], b["ms"]) for a, b in zip(starts[kind], starts[reference], strict=True)]
        return _result(pairs, "ms") | {
            "memory_mb": round(median(start["memory_mb"] for start in starts[kind]), 1),
            "reference_memory_mb": round(median(start["memory_mb"] for start in starts[reference]), 1),
        }

    return {
        **{f"cold_start.{kind}": beside(kind, "reference") for kind in ("insert_one", "insert_many", "list")},
        "peer.cold_start": beside("insert_one", "peer"),
        "peer.cold_start_as_usual": beside("insert_one", "peer without byte code"),
    }


def _with_path(environment: dict[str, str], *folders: Path) -> dict[str, str]:
    return environment | {"PYTHONPATH": os.pathsep.join(map(str, (*folders, PROJECT)))}


def _peer(full: Path, environment: dict[str, str]) -> dict[str, Result]:
    # Both run in one process, so ours has all of Powertools on its path too.
    environment = _with_path(environment, SOURCE, full)
    _say("peer")
    one = _measure(environment, "peer_insert_one")
    return {
        "peer.insert_one.wall": _result([tuple(pair) for pair in one["wall"]], "ms"),
        "peer.insert_one.cpu": _result([tuple(pair) for pair in one["cpu"]], "ms CPU"),
        "peer.insert_many": _beside("peer_insert_many", "ms", environment),
    }


def _limits(environment: dict[str, str]) -> dict[str, Result]:
    """Measure throughput at a partition's limit; runs mostly wait, so three run at a time."""
    _say("at the partitions' limits")

    def run(scenario: tuple[str, str, str, str]) -> dict[str, float]:
        with _stub("--limited") as endpoint_url:
            outcome: dict[str, float] = _measure(
                environment | {"AWS_ENDPOINT_URL": endpoint_url}, "at_limit", *scenario
            )
            return outcome

    with ThreadPoolExecutor(3) as pool:
        outcomes = dict(zip(_LIMIT_SCENARIOS, pool.map(run, _LIMIT_SCENARIOS), strict=True))
    index_pairs = [
        (outcome["records_per_second"], 1_000)
        for (_, _, customers, _), outcome in outcomes.items()
        if customers == "many"
    ]
    worst = min(index_pairs)
    one_customer = outcomes["1", "10000", "one", "short"]
    return {
        # Each scenario has to reach the mark, so the worst one counts.
        "limit.goodput": _result(index_pairs, "records/s")
        | {"ratio": round(worst[0] / worst[1], 3), "ours": round(worst[0], 1)}
        | {
            f"{requests} x {records}, {customers}, {dimensions}": ", ".join(
                f"{name} {value:g}" for name, value in outcome.items()
            )
            for (requests, records, customers, dimensions), outcome in outcomes.items()
        },
        "limit.one_customer": _result([(one_customer["records_per_second"], 500)], "records/s"),
    }


def _beside(name: str, unit: str, environment: dict[str, str]) -> Result:
    _say(name.replace("_", " "))
    return _result([tuple(pair) for pair in _measure(environment, name)], unit)


def _bulk_memory(environment: dict[str, str]) -> Result:
    _say("bulk memory")
    pairs = [
        tuple(_measure(environment, "bulk_memory", count)["memory_mb"] for count in ("10000", "1"))
        for _ in range(3)
    ]
    return _result(pairs, "MB")


def _install(full: Path) -> None:
    """Install the requirements as pip does: with byte code and everything else."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(  # noqa: S603 - pip, with the project's own requirements
        [*command, "--requirement", str(REQUIREMENTS), "--target", str(full)], check=True
    )
    py_compile.compile(str(Path(__file__).with_name("peer.py")))


def _bytes_in(folder: Path) -> float:
    return float(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))


def _result(pairs: list[tuple[Any, ...]], unit: str) -> Result:
    """Summarize pairs of (ours, reference): the median of their ratios, and its quartiles."""
    ratios = [ours / reference for ours, reference in pairs]
    low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return {
        "ratio": round(median(ratios), 3),
        "low": round(low, 3),
        "high": round(high, 3),
        "ours": round(median(ours for ours, _ in pairs), 4),
        "reference": round(median(reference for _, reference in pairs), 4),
        "unit": unit,
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
