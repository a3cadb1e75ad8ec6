import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from src.tracking import store, system_metrics
from src.tracking.origin import Origin
from src.tracking.runs import training_run
from src.tracking.system_metrics import SystemMonitor
from tests.tracking.conftest import until


@pytest.mark.parametrize(("value", "on"), [(None, True), ("true", True), ("false", False), ("0", False)])
def test_they_are_on_unless_mlflow_is_told_otherwise(
    value: str | None, on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING")
    if value is not None:
        monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", value)
    assert system_metrics.enabled() is on


def test_a_training_logs_them_where_mlflow_shows_them(
    place: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    with training_run("digits", Origin.here("first", {}, {})) as run:
        until(lambda: len(run.rows) >= 3)
    client = store.connect()
    found = {name for name in client.get_run(run.run_id).data.metrics if name.startswith("system/")}
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= found
    history = client.get_metric_history(run.run_id, "system/system_memory_usage_percentage")
    assert [one.step for one in history] == list(range(len(history)))
    assert len(history) >= 3
    assert all(0 < one.value < 100 for one in history)


def test_a_short_training_has_one_sample_and_a_node_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_NODE_ID", "node0")
    samples = list[Mapping[str, float]]()
    monitor = SystemMonitor(samples.append)
    began = time.monotonic()
    monitor.close()
    assert time.monotonic() - began < 2
    (sample,) = samples
    assert "system/node0/disk_usage_percentage" in sample
