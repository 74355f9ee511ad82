"""``python -m tools.benchmarks``: measure, and write the results here and into ``docs/performance.md``.

``python -m tools.benchmarks bulk list.page`` prints the results whose keys begin so, and writes nothing.
"""

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
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import IO, TYPE_CHECKING, Any, cast

from infra.bundling import REQUIREMENTS, SOURCE, Target, bundle
from infra.byte_code import find_interpreter
from tools.benchmarks.chart import draw
from tools.benchmarks.page import updated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PROJECT = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results.json")
PICTURE = Path(__file__).with_name("results.svg")
PAGE = PROJECT / "docs" / "performance.md"
_COLD_STARTS = 15
_STOP_SECONDS = 10
_UNITS = {
    "warm.over_powertools": "ms CPU",
    "bulk.entries": "entries/s",
    "bulk.with_ids": "entries/s",
    "bulk.vs_batch_writer": "entries/s",
    "bulk.growth": "ms CPU a record",
    "list.page": "ms CPU a record",
    "list.totals": "ms CPU a record",
    "list.depth": "ms",
}
"""Of the results that one function of ``measured`` makes, which has the key's name."""
_LIMIT_SCENARIOS = ((6, 10_000), (3, 10_000), (30, 1_000), (2, 10_000), (1, 10_000))
"""Requests at once, and records in each; the longest first."""
_INDEX_WRITES = 1_000
_LIMIT_ENTRIES_SECONDS = 1.5
_MEMORY_MB = 90

Result = dict[str, Any]


def main(*wanted: str) -> None:
    """Measure everything, which takes a few minutes, or the keys that begin as is wanted."""
    with tempfile.TemporaryDirectory() as folder, _stub() as endpoint_url:
        shipped = Path(folder) / "shipped"
        shipped.mkdir()
        _say("bundling the functions")
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        bundle(Target(f"manylinux2014_{platform.machine()}", version), find_interpreter(version), shipped)
        environment = _environment(shipped, endpoint_url)
        full = Path(folder) / "full"
        measures: dict[str, Callable[[], dict[str, Result]]] = {
            "cold_start": lambda: _cold_starts(environment, full),
            "peer": lambda: _peer(environment, full),
            **{key: partial(_beside, key, environment) for key in _UNITS},
            "package.size": lambda: {
                "package.size": _result([(_bytes_in(shipped), _bytes_in(full))], "bytes")
            },
            "bulk.memory": lambda: _bulk_memory(environment),
            "limit.entries": lambda: _limit_entries(environment),
            "limit.goodput": lambda: _limit_goodput(environment),
        }
        if wanted:
            measures = {key: measure for key, measure in measures.items() if key.startswith(wanted)}
        if measures.keys() & {"cold_start", "peer", "package.size"}:
            _install(full)
        results: dict[str, Result] = {}
        for measure in measures.values():
            for name, result in measure().items():
                results[name] = result
                _say(
                    f"{name:24} {result['ratio']:6.2f}  ({result['low']:.2f} to {result['high']:.2f})"
                    f"  {result['ours']:10.4g} beside {result['reference']:.4g} {result['unit']}"
                )
    if not wanted:
        machine: Result = {
            "date": datetime.now(UTC).date().isoformat(),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cpus": os.cpu_count() or 0,
        }
        RESULTS.write_text(json.dumps({**results, "machine": machine}, indent=2) + "\n")
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(updated(page, {**results, "machine": machine}), encoding="utf-8")
        draw(results, PICTURE)


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
        "TRANSACTION_ID_DAYS": "90",
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
    for _ in range(_COLD_STARTS):
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


def _peer(environment: dict[str, str], full: Path) -> dict[str, Result]:
    # Both run in one process, so ours has all of Powertools on its path too.
    environment = _with_path(environment, SOURCE, full)
    one = _measure(environment, "peer_insert_one")
    return {
        "peer.insert_one.wall": _result(one["wall"], "ms"),
        "peer.insert_one.cpu": _result(one["cpu"], "ms CPU"),
        "peer.insert_many": _result(_measure(environment, "peer_insert_many"), "ms"),
    }


def _beside(key: str, environment: dict[str, str]) -> dict[str, Result]:
    return {key: _result(_measure(environment, key.replace(".", "_")), _UNITS[key])}


def _bulk_memory(environment: dict[str, str]) -> dict[str, Result]:
    pairs = [(_measure(environment, "bulk_memory")["memory_mb"], _MEMORY_MB) for _ in range(3)]
    return {"bulk.memory": _result(pairs, "MB")}


def _at_limit(environment: dict[str, str], *arguments: str) -> dict[str, float]:
    """Measure once, against partitions that have no capacity saved."""
    with _stub("--limited") as endpoint_url:
        outcome: dict[str, float] = _measure(environment | {"AWS_ENDPOINT_URL": endpoint_url}, *arguments)
        return outcome


def _limit_entries(environment: dict[str, str]) -> dict[str, Result]:
    pairs = [(_at_limit(environment, "limit_entries")["seconds"], _LIMIT_ENTRIES_SECONDS) for _ in range(5)]
    return {"limit.entries": _result(pairs, "s")}


def _limit_goodput(environment: dict[str, str]) -> dict[str, Result]:
    """Measure throughput at the index's limit; runs mostly wait, so three run at a time."""

    def run(scenario: tuple[int, int]) -> dict[str, float]:
        return _at_limit(environment, "limit_goodput", *map(str, scenario))

    with ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(run, _LIMIT_SCENARIOS))
    rates = [outcome["records_per_second"] for outcome in outcomes]
    return {
        # Each scenario has to reach the mark, so the worst one counts.
        "limit.goodput": _result([(rate, _INDEX_WRITES) for rate in rates], "records/s")
        | {"ratio": round(min(rates) / _INDEX_WRITES, 3), "ours": round(min(rates), 1)}
        | {
            f"{requests} x {records}": {name: float(f"{value:g}") for name, value in outcome.items()}
            for (requests, records), outcome in zip(_LIMIT_SCENARIOS, outcomes, strict=True)
        }
    }


def _install(full: Path) -> None:
    """Install the requirements as pip does: with byte code and everything else."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(  # noqa: S603 - pip, with the project's own requirements
        [*command, "--requirement", str(REQUIREMENTS), "--target", str(full)], check=True
    )
    py_compile.compile(str(Path(__file__).with_name("peer.py")))


def _result(pairs: Sequence[Sequence[float]], unit: str) -> Result:
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


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
