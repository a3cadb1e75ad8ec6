import torch

from src.core.pixels import to_float, to_uint8


def test_the_two_forms_invert_each_other_on_all_256_values() -> None:
    values = torch.arange(256, dtype=torch.uint8).reshape(2, 2, 8, 8)
    floats = to_float(values)
    assert (floats.shape, floats.dtype) == (values.shape, torch.float32)
    assert torch.equal(to_uint8(floats), values)
    assert torch.allclose(floats, values / 127.5 - 1, rtol=0, atol=1e-6)
    assert (float(floats.min()), float(floats.max())) == (-1, 1)


def test_bytes_are_rounded_to_the_nearest_and_clamped() -> None:
    step = 2 / 255
    floats = torch.tensor([-2.0, -1.0, -1 + 0.49 * step, -1 + 0.51 * step, 1 - 0.49 * step, 1.0, 7.0])
    assert to_uint8(floats).tolist() == [0, 0, 0, 1, 255, 255, 255]
    assert to_uint8(floats.to(torch.bfloat16)).dtype == torch.uint8


def test_the_input_stays_as_it_was() -> None:
    floats, values = torch.linspace(-2, 2, 9), torch.arange(9, dtype=torch.uint8)
    to_uint8(floats)
    to_float(values)
    assert torch.equal(floats, torch.linspace(-2, 2, 9))
    assert torch.equal(values, torch.arange(9, dtype=torch.uint8))
