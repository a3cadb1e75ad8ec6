import ctypes
import os
import resource

import pytest
import torch

from src.config.params import Params
from src.core.device import DeviceContext, batch_size, full_precision, pick_device, pin_gpu, resolve
from src.core.errors import UserError

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")


def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == CPU
    with pytest.raises(UserError, match=r"train\.device is cuda, but PyTorch sees no CUDA GPU"):
        pick_device("cuda")


def test_with_gpus_each_process_takes_its_own(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_device("auto") == pick_device("cuda") == GPU
    assert pick_device("cpu") == CPU
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert pick_device("auto") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match="there are 2 GPUs here"):
        pick_device("auto")


@pytest.mark.parametrize(
    ("visible", "count", "pinned"),
    [
        ("4,7", 2, ["4", "7", "4"]),
        ("", 3, ["0", "1", "2"]),
        ("MIG-a,MIG-b", 2, ["MIG-a", "MIG-b", "MIG-a"]),
        ("", 0, [""]),
    ],
)
def test_workers_take_the_visible_gpus_in_turn(
    visible: str, count: int, pinned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    for index, name in enumerate(pinned):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        pin_gpu(index)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == name


@pytest.mark.parametrize(
    ("precision", "on_cpu", "on_gpu"), [("auto", False, True), ("float32", False, False), ("bfloat16", True, True)]
)
def test_auto_precision_is_bfloat16_on_a_gpu_only(precision: str, on_cpu: bool, on_gpu: bool) -> None:
    train = Params().replace({"train.precision": precision}).train
    assert (DeviceContext(CPU, train).bfloat16, DeviceContext(GPU, train).bfloat16) == (on_cpu, on_gpu)


def test_graphs_need_a_gpu() -> None:
    auto, graph, none = (Params().replace({"train.compile": name}).train for name in ("auto", "graph", "none"))
    assert [DeviceContext(GPU, train).graphs for train in (auto, graph, none)] == [True, True, False]
    assert [DeviceContext(CPU, train).graphs for train in (auto, none)] == [False, False]
    with pytest.raises(UserError, match=r"train\.compile is graph, but CUDA graphs need a GPU"):
        _ = DeviceContext(CPU, graph).graphs


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """What was set, in order, in place of PyTorch's own settings."""
    seen: list[tuple[str, bool]] = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda name: seen.append((name, False)))
    monkeypatch.setattr(
        torch, "use_deterministic_algorithms", lambda _, *, warn_only: seen.append(("deterministic", warn_only))
    )
    for name in ("allow_tf32", "benchmark"):
        monkeypatch.setattr(torch.backends.cudnn, name, getattr(torch.backends.cudnn, name))
    return seen


def tf32() -> bool:
    return bool(torch.backends.cudnn.allow_tf32)


def test_only_steps_of_training_leave_full_float32(two_gpus: None, settings: list[tuple[str, bool]]) -> None:
    context = resolve(Params().replace({"train.deterministic": True}).train)
    assert context.device == GPU
    assert settings == [("highest", False), ("deterministic", True)]
    assert (tf32(), torch.backends.cudnn.benchmark) == (False, False)
    with context.training_step():
        assert tf32()
        assert settings[2:] == [("high", False), ("deterministic", False)]
    assert settings[4:] == [("highest", False), ("deterministic", True)]
    assert not tf32()


def test_a_batch_is_large_on_a_gpu_only() -> None:
    assert (batch_size(CPU), batch_size(GPU), batch_size(torch.device("cuda", 1))) == (100, 1000, 1000)


@pytest.mark.parametrize("products", ["highest", "high", "medium"])
@pytest.mark.parametrize("convolutions", [True, False])
def test_full_precision_holds_whatever_is_set_and_restores_it(products: str, convolutions: bool) -> None:
    def found() -> tuple[str, bool]:
        return torch.get_float32_matmul_precision(), tf32()

    before = found()
    try:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
        with full_precision():
            assert found() == ("highest", False)
            with full_precision():
                assert found() == ("highest", False)
            assert found() == ("highest", False)
        assert found() == (products, convolutions)
        with pytest.raises(ZeroDivisionError), full_precision():
            _ = 1 / 0
        assert found() == (products, convolutions)
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def test_a_cpu_keeps_every_setting_that_changes_bits(settings: list[tuple[str, bool]]) -> None:
    context = resolve(Params().replace({"train.device": "cpu", "train.deterministic": True}).train)
    with context.training_step():
        pass
    assert settings == []
    assert str(context) == f"cpu, {torch.get_num_threads()} threads"
    threads = torch.get_num_threads()
    try:
        assert resolve(threads=threads + 1) == DeviceContext(CPU, threads=threads + 1)
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc's malloc")
def test_memory_that_a_step_frees_causes_no_page_faults_in_the_next() -> None:
    resolve()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**22)  # 16 MiB, 4,096 pages
    # Once or twice, since an aligned block does not always fit in the place of the last one.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 20_000
