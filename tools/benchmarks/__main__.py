"""``python -m tools.benchmarks``: measure, and write the results here and into ``docs/performance.md``.

``python -m tools.benchmarks bulk list.page`` prints the results whose keys begin so, and writes nothing.
"""

import json
import os
import platform
import py_compile
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import IO, Any, cast

from infra.bundling import REQUIREMENTS, SOURCE, Target, bundle
from infra.byte_code import find_interpreter
from tools.benchmarks.published import Result, publish

Pairs = Sequence[tuple[float, float]]
"""Ours, and the reference's."""

PROJECT = Path(__file__).parents[2]
_COLD_STARTS = 15
_LIMIT_SCENARIOS = ((6, 10_000), (3, 10_000), (30, 1_000), (2, 10_000), (1, 10_000))
"""Requests at once, and records in each; the longest first."""
_INDEX_WRITES = 1_000
_LIMIT_ENTRIES_SECONDS = 1.5
_MEMORY_MB = 90
_VARIABLES = {
    "PYTHONDONTWRITEBYTECODE": "1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
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
_TOTALS = {"group_by": "dimension", "from": "2000-01-01", "to": str(2**53 - 1)}
_COMPARISONS: dict[str, tuple[str, str, tuple[object, ...]]] = {
    "warm.over_powertools": ("ms CPU", "over_powertools", ()),
    "peer.insert_one.wall": ("ms", "beside_peer", ("insert_one", "wall")),
    "peer.insert_one.cpu": ("ms CPU", "beside_peer", ("insert_one", "cpu")),
    "peer.insert_many": ("ms", "beside_peer", ("insert_many", "wall")),
    "bulk.vs_batch_writer": ("entries/s", "beside_batch_writer", (1_000, 1_000)),
    "bulk.entries": ("entries/s", "beside_batch_writer", (10_000, 300)),
    "bulk.with_ids": ("entries/s", "beside_threads", (1_000,)),
    "bulk.growth": ("ms CPU a record", "growth", (10_000, 1_000)),
    **{
        f"lookup.{function}.{known}.{clock}": (unit, "beside_no_lookup", (function, known, clock))
        for function in ("insert_one", "insert_many")
        for known, clock, unit in (
            ("cold", "cpu", "ms CPU"),
            ("cold", "wall", "ms"),
            ("warm", "cpu", "ms CPU"),
        )
    },
    "list.page": ("ms CPU a record", "beside_query", (1_000, {"limit": "1000"}, {"Limit": 1_000})),
    "list.totals": ("ms CPU a record", "beside_query", (5_000, _TOTALS, {})),
    "list.depth": ("ms", "depth", (100,)),
}
"""By key: the unit, and the function of ``measured`` with its arguments."""


def main(*wanted: str) -> None:
    """Measure everything, which takes a few minutes, or the keys that begin as is wanted."""
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder))
        cold_starts = {
            **{f"cold_start.{each}": (each, "reference") for each in ("insert_one", "insert_many", "list")},
            "peer.cold_start": ("insert_one", "peer"),
            "peer.cold_start_as_usual": ("insert_one", "peer as usual"),
        }
        measures: dict[str, Callable[[], Result]] = {
            **{key: partial(bench.cold_start, *sides) for key, sides in cold_starts.items()},
            **{key: partial(bench.compare, *comparison) for key, comparison in _COMPARISONS.items()},
            "package.size": bench.package_size,
            "bulk.memory": bench.bulk_memory,
            "limit.entries": bench.limit_entries,
            "limit.goodput": bench.limit_goodput,
        }
        for key, measure in measures.items():
            if not wanted or key.startswith(wanted):
                results[key] = result = measure()
                print(
                    f"{key:24} {result['ratio']:6.2f}  ({result['low']:.2f} to {result['high']:.2f})"
                    f"  {result['ours']:10.4g} beside {result['reference']:.4g} {result['unit']}",
                    file=sys.stderr,
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

    def __init__(self, folder: Path) -> None:
        print("bundling the functions, and installing the requirements as pip does", file=sys.stderr)
        self._shipped, self._full, self._bare = (folder / name for name in ("shipped", "full", "bare"))
        self._shipped.mkdir()
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        bundle(
            Target(f"manylinux2014_{platform.machine()}", version), find_interpreter(version), self._shipped
        )
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run(  # noqa: S603 - pip, with the project's own requirements
            [*pip, "--requirement", str(REQUIREMENTS), "--target", str(self._full)], check=True
        )
        shutil.copytree(self._full, self._bare, ignore=shutil.ignore_patterns("__pycache__"))
        py_compile.compile(str(Path(__file__).with_name("peer.py")))

    def cold_start(self, kind: str, reference: str) -> Result:
        # The reference has boto3 as the Lambda runtime has it, with the models of all services.
        folders = {"peer": [self._full], "peer as usual": [self._bare], "reference": []}
        start = partial(self._run, "calls", "cold_start")
        beside = partial(start, reference.removesuffix(" as usual"), paths=folders[reference])
        return _result([(start(kind), beside()) for _ in range(_COLD_STARTS)], "ms")

    def compare(self, unit: str, function: str, arguments: Sequence[object]) -> Result:
        # Ours and the peer share a process, with all of Powertools.
        paths = [SOURCE, self._full] if function == "beside_peer" else None
        pairs: Pairs = self._run("measured", function, *arguments, paths=paths)
        if unit == "entries/s":
            pairs = [(1000 / ours, 1000 / reference) for ours, reference in pairs]
        return _result(pairs, unit)

    def package_size(self) -> Result:
        folders = (self._shipped, self._full)
        ours, reference = (
            sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) for folder in folders
        )
        return _result([(ours, reference)], "bytes")

    def bulk_memory(self) -> Result:
        return _result([(self._run("calls", "bulk", 10_000, 10_000)[1], _MEMORY_MB) for _ in range(3)], "MB")

    def limit_entries(self) -> Result:
        """Measure 10,000 entries of 300 customers in one call."""
        bulk = partial(self._run, "calls", "bulk", 10_000, 300, stub="--limited")
        return _result([(bulk()[0], _LIMIT_ENTRIES_SECONDS) for _ in range(5)], "s")

    def limit_goodput(self) -> Result:
        """Measure throughput at the index's limit; runs mostly wait, so three run at a time."""
        with ThreadPoolExecutor(3) as pool:
            goodput = partial(self._run, "measured", "goodput", stub="--limited")
            outcomes = list(pool.map(lambda scenario: goodput(*scenario), _LIMIT_SCENARIOS))
        # Each scenario has to reach the mark, so the worst one counts.
        result = _result([(min(each["records_per_second"] for each in outcomes), _INDEX_WRITES)], "records/s")
        names = (f"{requests} x {records}" for requests, records in _LIMIT_SCENARIOS)
        return result | dict(zip(names, outcomes, strict=True))

    def _run(
        self,
        module: str,
        function: str,
        *arguments: object,
        paths: Sequence[Path] | None = None,
        stub: str = "",
    ) -> Any:  # noqa: ANN401 - what the function returns
        """Call a function of this package in a new process, with those folders first on its path.

        Beside it runs a new stub, with that option, whose partitions have no capacity saved.
        """
        python = [sys.executable, "-m"]
        command = [*python, "tools.benchmarks.dynamodb_stub", *([stub] if stub else [])]
        with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603
            try:
                path = [self._shipped] if paths is None else paths
                variables = {
                    "PYTHONPATH": os.pathsep.join(map(str, [*path, PROJECT])),
                    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{int(cast('IO[str]', server.stdout).readline())}",
                }
                command = [*python, "tools.benchmarks.calls", module, function, json.dumps(arguments)]
                output = subprocess.check_output(command, cwd=PROJECT, env=_VARIABLES | variables)  # noqa: S603
                return json.loads(output)
            finally:
                server.terminate()


def _result(pairs: Pairs, unit: str) -> Result:
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


if __name__ == "__main__":
    main(*sys.argv[1:])
