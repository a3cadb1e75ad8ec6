import os

import pytest
import torch

from src.core.device import describe_device, pick_device, pin_gpu, set_up, use_bfloat16, use_graphs
from src.core.errors import UserError

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == CPU
    with pytest.raises(UserError, match=r"train\.device is cuda, but PyTorch sees no CUDA GPU"):
        pick_device("cuda")


def test_with_gpus_each_process_takes_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto") == pick_device("cuda") == GPU
    assert pick_device("cpu") == CPU
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert pick_device("auto") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match="there are 2 GPUs here"):
        pick_device("auto")


@pytest.mark.parametrize(
    ("visible", "count", "pinned"),
    [("4,7", 2, ["4", "7", "4"]), ("", 3, ["0", "1", "2"]), ("MIG-a,MIG-b", 2, ["MIG-a", "MIG-b", "MIG-a"])],
)
def test_workers_take_the_visible_gpus_in_turn(
    visible: str, count: int, pinned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    for index, name in enumerate(pinned):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        pin_gpu(index)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == name


def test_without_a_gpu_none_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    pin_gpu(1)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize(
    ("precision", "on_cpu", "on_gpu"), [("auto", False, True), ("float32", False, False), ("bfloat16", True, True)]
)
def test_auto_precision_is_bfloat16_on_a_gpu_only(precision: str, on_cpu: bool, on_gpu: bool) -> None:
    assert (use_bfloat16(precision, CPU), use_bfloat16(precision, GPU)) == (on_cpu, on_gpu)


def test_graphs_need_a_gpu() -> None:
    assert [use_graphs(name, GPU) for name in ("auto", "graph", "none")] == [True, True, False]
    assert [use_graphs(name, CPU) for name in ("auto", "none")] == [False, False]
    with pytest.raises(UserError, match=r"train\.compile is graph, but CUDA graphs need a GPU"):
        use_graphs("graph", CPU)


def test_a_cpu_needs_no_setting_up() -> None:
    set_up(CPU, deterministic=True)
    assert not torch.are_deterministic_algorithms_enabled()
    assert describe_device(CPU) == f"cpu, {torch.get_num_threads()} threads"
