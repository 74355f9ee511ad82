"""``python -m tools.benchmarks``: measure, and write ``results.json`` and ``results.svg`` here."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import IO, TYPE_CHECKING, Any, cast

from infra.bundling import REQUIREMENTS, Target, bundle
from infra.byte_code import find_interpreter
from tools.benchmarks.chart import draw

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results.json")
PICTURE = Path(__file__).with_name("results.svg")
_COLD_STARTS = 15
_STOP_SECONDS = 10

Result = dict[str, float | str]


def main() -> None:
    """Measure everything; it takes a few minutes."""
    with tempfile.TemporaryDirectory() as folder, _stub() as endpoint_url:
        shipped = Path(folder) / "shipped"
        shipped.mkdir()
        _say("bundling the functions")
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        bundle(Target(f"manylinux2014_{platform.machine()}", version), find_interpreter(version), shipped)
        environment = _environment(shipped, endpoint_url)
        results = {
            **_cold_starts(environment),
            "warm.insert_one": _beside("warm_insert_one", "ms CPU", environment),
            "bulk.vs_batch_writer": _beside("bulk_beside_batch_writer", "records/s", environment),
            "bulk.vs_ceiling": _beside("bulk_beside_ceiling", "records/s", environment),
            "bulk.growth": _beside("bulk_growth", "ms CPU a record", environment),
            "bulk.memory": _bulk_memory(environment),
            "list.page": _beside("list_page", "ms CPU a record", environment),
            "list.depth": _beside("list_depth", "ms", environment),
            "package.size": _package_size(shipped, Path(folder) / "unpruned"),
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
def _stub() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.benchmarks.dynamodb_stub"],
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


def _cold_starts(environment: dict[str, str]) -> dict[str, Result]:
    kinds = ("reference", "insert_one", "insert_many", "list")
    starts: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for number in range(_COLD_STARTS):
        _say(f"cold starts, {number + 1} of {_COLD_STARTS}")
        for kind in kinds:
            starts[kind].append(_measure(environment, "cold_start", kind))
    results: dict[str, Result] = {}
    for kind in kinds[1:]:
        pairs = [(a["ms"], b["ms"]) for a, b in zip(starts[kind], starts["reference"], strict=True)]
        results[f"cold_start.{kind}"] = _result(pairs, "ms") | {
            "memory_mb": round(median(start["memory_mb"] for start in starts[kind]), 1),
            "reference_memory_mb": round(median(start["memory_mb"] for start in starts["reference"]), 1),
        }
    return results


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


def _package_size(shipped: Path, unpruned: Path) -> Result:
    _say("package size")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(  # noqa: S603 - pip, with the project's own requirements
        [*command, "--requirement", str(REQUIREMENTS), "--target", str(unpruned)], check=True
    )
    return _result([(_bytes_in(shipped), _bytes_in(unpruned))], "bytes")


def _bytes_in(folder: Path) -> float:
    return float(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))


def _result(pairs: list[tuple[Any, ...]], unit: str) -> Result:
    """Condense pairs of (ours, reference): the median of their ratios, and its quartiles."""
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
