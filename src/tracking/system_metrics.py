"""System metrics of a training: CPU, memory, disk, network and GPU."""

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from .outbox import SYSTEM


def enabled() -> bool:
    """Whether to log system metrics: yes, unless MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING is false."""
    return os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true").lower() not in ("false", "0")


class SystemMonitor:
    """Samples MLflow's monitors in a thread, as its SystemMetricsMonitor does, with the same names and variables.

    MLflow's class calls the store from its thread, stops at the first failure, and is joined without a timeout, so that a
    server that hangs would block the end of training. Here, samples are queued like all other metrics.
    """

    def __init__(self, log: Callable[[Mapping[str, float]], None]) -> None:
        self._log, self._done = log, threading.Event()
        self._thread = threading.Thread(target=self._work, name="system metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take a last sample, so that short runs have one, too."""
        self._done.set()
        self._thread.join(2.0)

    def _work(self) -> None:
        seconds = float(os.environ.get("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "10"))
        samples = int(os.environ.get("MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING", "1"))
        node = os.environ.get("MLFLOW_SYSTEM_METRICS_NODE_ID", "")
        prefix = f"{SYSTEM}{node}/" if node else SYSTEM
        monitors = _monitors()
        for monitor in monitors:  # the first CPU sample is meaningless
            monitor.collect_metrics()
            monitor.clear_metrics()
        ended = False
        while not ended:
            for _ in range(samples):
                ended = self._done.wait(seconds)
                for monitor in monitors:
                    monitor.collect_metrics()
                if ended:
                    break
            found = {name: value for monitor in monitors for name, value in monitor.aggregate_metrics().items()}
            self._log({f"{prefix}{name}": value for name, value in found.items()})
            for monitor in monitors:
                monitor.clear_metrics()


def _monitors() -> list[Any]:
    """MLflow's monitors that work on this machine; those for GPUs need a GPU and its library."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
    from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor

    found: list[Any] = []
    for kind in (CPUMonitor, DiskMonitor, NetworkMonitor, GPUMonitor, ROCMMonitor):
        with suppress(Exception):
            found.append(kind())
    return found
