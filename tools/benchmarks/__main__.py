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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import IO, Any, cast

from infra.bundling import REQUIREMENTS, SOURCE, Target, bundle
from infra.byte_code import find_interpreter
from tools.benchmarks.measured import UNITS
from tools.benchmarks.published import Result, publish

PROJECT = Path(__file__).parents[2]
_COLD_STARTS = 15
_LIMIT_SCENARIOS = ((6, 10_000), (3, 10_000), (30, 1_000), (2, 10_000), (1, 10_000))
"""Requests at once, and records in each; the longest first."""
_INDEX_WRITES = 1_000
_LIMIT_ENTRIES_SECONDS = 1.5
_MEMORY_MB = 90
_VARIABLES = {
    "PATH": os.environ["PATH"],
    "PYTHONDONTWRITEBYTECODE": "1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    # The functions ship without awscrt, which this environment has for `aws login`.
    "BOTO_DISABLE_CRT": "true",
    "METERING_TABLE_NAME": "AWSMarketplaceMeteringRecords",
    "IDEMPOTENCY_TABLE_NAME": "idempotency",
    "IDEMPOTENCY_HOURS": "24",
    "TRANSACTION_ID_DAYS": "90",
    "POWERTOOLS_SERVICE_NAME": "metering-api",
    "POWERTOOLS_METRICS_NAMESPACE": "MarketplaceMetering",
}


def main(*wanted: str) -> None:
    """Measure everything, which takes a few minutes, or the keys that begin as is wanted."""
    with tempfile.TemporaryDirectory() as folder, _stub() as endpoint_url:
        bench = _Bench(Path(folder), endpoint_url)
        measures: dict[str, Callable[[], Result]] = {
            **{
                f"cold_start.{kind}": partial(bench.cold_start, kind, "reference")
                for kind in ("insert_one", "insert_many", "list")
            },
            "peer.cold_start": partial(bench.cold_start, "insert_one", "peer"),
            "peer.cold_start_as_usual": partial(bench.cold_start, "insert_one", "peer as usual"),
            **{key: partial(bench.compare, key) for key in UNITS},
            "package.size": bench.package_size,
            "bulk.memory": bench.bulk_memory,
            "limit.entries": bench.limit_entries,
            "limit.goodput": bench.limit_goodput,
        }
        results: dict[str, Result] = {}
        for key, measure in measures.items():
            if not wanted or key.startswith(wanted):
                results[key] = result = measure()
                _say(
                    f"{key:24} {result['ratio']:6.2f}  ({result['low']:.2f} to {result['high']:.2f})"
                    f"  {result['ours']:10.4g} beside {result['reference']:.4g} {result['unit']}"
                )
    if not wanted:
        machine = {
            "date": datetime.now(UTC).date().isoformat(),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cpus": os.cpu_count() or 0,
        }
        publish({**results, "machine": machine})


class _Bench:
    """The functions as they are shipped, the peer beside them, and new processes to measure both in."""

    def __init__(self, folder: Path, endpoint_url: str) -> None:
        _say("bundling the functions, and installing the requirements as pip does")
        self._shipped, self._full, self._bare = (folder / name for name in ("shipped", "full", "bare"))
        self._shipped.mkdir()
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        target = Target(f"manylinux2014_{platform.machine()}", version)
        bundle(target, find_interpreter(version), self._shipped)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run(  # noqa: S603 - pip, with the project's own requirements
            [*pip, "--requirement", str(REQUIREMENTS), "--target", str(self._full)], check=True
        )
        shutil.copytree(self._full, self._bare, ignore=shutil.ignore_patterns("__pycache__"))
        py_compile.compile(str(Path(__file__).with_name("peer.py")))
        self._endpoint_url = endpoint_url

    def compare(self, key: str) -> Result:
        """Measure one of ``measured``; ours and the peer share a process, with all of Powertools."""
        paths = [SOURCE, self._full] if key.startswith("peer.") else [self._shipped]
        return _result(self._run("measured", key, paths=paths), UNITS[key])

    def cold_start(self, kind: str, reference: str) -> Result:
        # The reference has boto3 as the Lambda runtime has it, with the models of all services.
        folders = {"peer": [self._full], "peer as usual": [self._bare], "reference": [PROJECT]}
        pairs: list[list[dict[str, float]]] = [
            [
                self._run("alone", "cold_start", side.split()[0], paths=folders.get(side, [self._shipped]))
                for side in (kind, reference)
            ]
            for _ in range(_COLD_STARTS)
        ]
        memory = _result([[start["memory_mb"] for start in pair] for pair in pairs], "MB")
        return _result([[start["ms"] for start in pair] for pair in pairs], "ms") | {
            "memory_mb": round(memory["ours"], 1),
            "reference_memory_mb": round(memory["reference"], 1),
        }

    def package_size(self) -> Result:
        sizes = [
            sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            for folder in (self._shipped, self._full)
        ]
        return _result([sizes], "bytes")

    def bulk_memory(self) -> Result:
        peaks = [self._run("alone", "bulk", "10000", "10000")["memory_mb"] for _ in range(3)]
        return _result([(peak, _MEMORY_MB) for peak in peaks], "MB")

    def limit_entries(self) -> Result:
        """Measure 10,000 entries of 300 customers in one call."""
        seconds = [self._at_limit("alone", "bulk", "10000", "300")["ms"] / 1000 for _ in range(5)]
        return _result([(each, _LIMIT_ENTRIES_SECONDS) for each in seconds], "s")

    def limit_goodput(self) -> Result:
        """Measure throughput at the index's limit; runs mostly wait, so three run at a time."""
        with ThreadPoolExecutor(3) as pool:
            outcomes = list(pool.map(lambda each: self._at_limit("limit", *map(str, each)), _LIMIT_SCENARIOS))
        rates = [outcome["records_per_second"] for outcome in outcomes]
        result = _result([(rate, _INDEX_WRITES) for rate in rates], "records/s")
        # Each scenario has to reach the mark, so the worst one counts.
        result |= {"ratio": round(min(rates) / _INDEX_WRITES, 3), "ours": round(min(rates), 1)}
        for (requests, records), outcome in zip(_LIMIT_SCENARIOS, outcomes, strict=True):
            result[f"{requests} x {records}"] = {name: float(f"{value:g}") for name, value in outcome.items()}
        return result

    def _at_limit(self, *arguments: str) -> dict[str, float]:
        """Measure once, against partitions that have no capacity saved."""
        with _stub("--limited") as endpoint_url:
            outcome: dict[str, float] = self._run(*arguments, endpoint_url=endpoint_url)
            return outcome

    def _run(
        self, module: str, *arguments: str, paths: Sequence[Path] = (), endpoint_url: str | None = None
    ) -> Any:  # noqa: ANN401 - what the module prints
        """Run a module of this package in a new process, with those folders first on its path."""
        path = os.pathsep.join(map(str, (*(paths or [self._shipped]), PROJECT)))
        finished = subprocess.run(  # noqa: S603 - this package's own modules
            [sys.executable, "-m", f"tools.benchmarks.{module}", *arguments],
            cwd=PROJECT,
            env=_VARIABLES | {"PYTHONPATH": path, "AWS_ENDPOINT_URL": endpoint_url or self._endpoint_url},
            stdout=subprocess.PIPE,
            check=True,
        )
        return json.loads(finished.stdout)


@contextmanager
def _stub(*options: str) -> Iterator[str]:
    """Run the stub in a process of its own; yield its URL."""
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
        process.wait()


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


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
