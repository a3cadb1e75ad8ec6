import base64
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor

from src.core.pixels import to_uint8
from src.sampling.draw import SeededGenerator, generate
from src.serving.served_generator import BATCH, MAX_SEED, SMALL_BATCH, RequestError, ServedGenerator
from tests.networks.tiny import FAMILIES, pair

NAMES = ("Boot", "bag", "T-shirt/top")
LABELS = [0, 1, 2, 1]
SEEDS = [7, 0, MAX_SEED, 2**53 + 1]


def served(family: str = "mlp", channels: int = 1) -> tuple[ServedGenerator, Any]:
    generator, _ = pair(family, channels=channels)
    return ServedGenerator(SeededGenerator(generator.eval()), NAMES), generator


def pixels(images: Any) -> Tensor:
    return to_uint8(torch.from_numpy(images))


FORMS: dict[str, Any] = {
    "a DataFrame": pd.DataFrame({"label": ["boot", 1, "2", " BAG "], "seed": SEEDS}),
    "other order, other index": pd.DataFrame({"seed": SEEDS, "label": LABELS}, index=[9, 9, 4, 1]),
    "a dict of lists": {"label": ["Boot", "Bag", "t-shirt/TOP", 1.0], "seed": [7.0, "0", MAX_SEED, str(2**53 + 1)]},
    "a dict of arrays": {"label": np.array(LABELS), "seed": np.array(SEEDS)},
    "a list of dicts": [{"label": label, "seed": seed} for label, seed in zip(LABELS, SEEDS, strict=True)],
    "an array": np.array([LABELS, SEEDS]).T,
    "an array of text": np.array([["0", "7"], ["bag", "0"], ["2", str(MAX_SEED)], ["1", str(2**53 + 1)]]),
    "a list of lists": [["boot", 7], ["bag", 0], [2, MAX_SEED], ["1", 2**53 + 1]],
    "arrays without dimension": [
        {"label": np.array(a), "seed": np.array(b)} for a, b in zip(LABELS, SEEDS, strict=True)
    ],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_input_gives_the_images_of_generate(form: str) -> None:
    model, generator = served()
    images = model.predict(FORMS[form])
    assert isinstance(images, np.ndarray)
    assert (images.shape, str(images.dtype)) == ((4, 1, 8, 8), "float32")
    assert torch.equal(pixels(images), generate(generator, torch.tensor(LABELS), torch.tensor(SEEDS)))


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_is_the_same_in_any_company(family: str) -> None:
    model, generator = served(family)
    labels, seeds = torch.arange(2 * BATCH + 7) % 3, 1000 + torch.arange(2 * BATCH + 7)
    rows = torch.stack([labels, seeds], dim=1).numpy()
    together = model.predict(rows)
    assert isinstance(together, np.ndarray)
    assert torch.equal(pixels(together), generate(generator, labels, seeds))
    for count in (1, 2, SMALL_BATCH, SMALL_BATCH + 1, BATCH, BATCH + 1):
        assert np.array_equal(model.predict(rows[:count]), together[:count])


def test_threads_share_batches_and_get_their_own_images() -> None:
    generator, _ = pair()
    program, sizes = SeededGenerator(generator.eval()), []
    started, held = threading.Event(), threading.Event()

    def slow(rows: Tensor, truncation: Tensor) -> Tensor:
        sizes.append(len(rows))
        if len(sizes) > 2:  # the first two are those that choose the size
            started.set()
            held.wait(10)
        images: Tensor = program(rows, truncation)
        return images

    model = ServedGenerator(slow, NAMES)
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(model.predict, [["boot", 0]])
        assert started.wait(10)
        jobs = [pool.submit(model.predict, [["bag", n]] * 5, {"truncation": 1 - n / 20}) for n in range(12)]
        while len(model._renderer._waiting) < 12:
            assert not held.wait(0.01)
        held.set()
        results = [job.result(timeout=20) for job in jobs]
        assert first.result(timeout=20) is not None
    # Twelve requests of 5 rows that came while one was worked on are one batch, each with its own truncation.
    assert len(sizes) == 4
    for number, images in enumerate(results):
        alone = model.predict([["bag", number]], {"truncation": 1 - number / 20})
        assert all(np.array_equal(image, alone[0]) for image in images)


def test_an_error_of_the_program_reaches_the_caller_and_the_next_one_is_served() -> None:
    generator, _ = pair()
    program, broken = SeededGenerator(generator.eval()), threading.Event()

    def sometimes(rows: Tensor, truncation: Tensor) -> Tensor:
        if broken.is_set():
            raise MemoryError("no memory")
        images: Tensor = program(rows, truncation)
        return images

    model = ServedGenerator(sometimes, NAMES)
    broken.set()
    with pytest.raises(MemoryError, match="no memory"):
        model.predict([[0, 0]])
    broken.clear()
    assert len(model.predict([[0, 0]])) == 1


def test_truncation_is_multiplied_with_the_latents() -> None:
    model, generator = served()
    rows = torch.tensor([[0, 3], [1, 4]])
    with torch.no_grad():
        expected = SeededGenerator(generator)(rows, torch.full((2,), 0.25))
    images = model.predict(rows.numpy(), {"truncation": 0.25})
    assert isinstance(images, np.ndarray)
    assert np.abs(images - expected.numpy()).max() < 1e-6
    assert np.array_equal(model.predict(rows.numpy(), {"truncation": 1}), model.predict(rows.numpy()))
    many = np.array([[0, seed] for seed in range(50)])
    spread = [np.asarray(model.predict(many, {"truncation": some})).std(axis=0).mean() for some in (0.1, 0.5, 1.0)]
    assert spread == sorted(spread)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_holds_the_pixels(channels: int) -> None:
    model, generator = served(channels=channels)
    expected = generate(generator, torch.tensor(LABELS), torch.tensor(SEEDS))
    pictures = model.predict({"label": LABELS, "seed": SEEDS}, {"format": "png"})
    assert len(pictures) == 4
    for text, image in zip(pictures, expected, strict=True):
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "L" if channels == 1 else "RGB", (8, 8))
            shown = np.atleast_3d(np.array(picture)).transpose(2, 0, 1)
        assert np.array_equal(shown, image.numpy())


CLASSES = r"is not a class of this model; it has 0 Boot, 1 bag, 2 T-shirt/top$"
WHOLE = r"is not a whole number from 0 to 9223372036854775807$"
ONE_ROW: list[Any] = [["boot", 0]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([["shoe", 0]], rf"^row 0: label 'shoe' {CLASSES}"),
        ([["boot", 0], [3, 0]], rf"^row 1: label 3 {CLASSES}"),
        ([[-1, 0]], rf"label -1 {CLASSES}"),
        ([[0.5, 0]], rf"label 0.5 {CLASSES}"),
        ([["x" * 10**6, 0]], rf"label '.{{1,40}}' {CLASSES}"),
        ([["boot", -1]], rf"^row 0: seed -1 {WHOLE}"),
        ([["boot", 2**63]], rf"seed 9223372036854775808 {WHOLE}"),
        ([["boot", 1.5]], rf"seed 1.5 {WHOLE}"),
        ([["boot", float("nan")]], rf"seed nan {WHOLE}"),
        ([["boot", True]], rf"seed True {WHOLE}"),
        ([["boot", "1.0"]], rf"seed '1.0' {WHOLE}"),
        ([["boot", "9" * 5000]], rf"seed '9.{{1,40}}' {WHOLE}"),
        ([], r"^the input has 0 rows; it must have 1 to 1,000$"),
        (np.zeros((0, 2)), "has 0 rows"),
        ({"label": [], "seed": []}, "has 0 rows"),
        (ONE_ROW * 1001, r"^the input has 1,001 rows; it must have 1 to 1,000$"),
        ({"label": [1]}, r"^the input has the columns \['label'\]; it must have label and seed, and no other$"),
        (
            {"label": [1], "seed": [1], "psi": [1]},
            r"the columns \['label', 'seed', 'psi'\]; it must have label and seed",
        ),
        (pd.DataFrame([[1, 1]], columns=["label", "label"]), r"the columns \['label', 'label'\]"),
        ({"label": [1, 2], "seed": [1]}, "^the input is not a table of label and seed"),
        ([[1, 2, 3]], r"^the input has the shape \(1, 3\); it must be \(N, 2\), label and seed in each row$"),
        ([[[1, 2]]], r"shape \(1, 1, 2\)"),
        ([{"label": 1, "seed": 2}, 3], r"shape \(2,\)"),
        ([{"label": 1}, {"seed": 2}], "row 0: seed nan"),
        (None, "^the input is None; it must be rows of label and seed$"),
        ("boot", "^the input is 'boot'; it must be rows"),
        (np.array(None), "^the input is None; it must be rows"),
    ],
)
def test_wrong_rows(data: Any, message: str) -> None:
    model, _ = served()
    with pytest.raises(RequestError, match=message) as raised:
        model.predict(data)
    assert raised.value.error_code == "INVALID_PARAMETER_VALUE"
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"truncation": 0}, "^truncation is 0; it must be above 0 and at most 1$"),
        ({"truncation": 1.0001}, "^truncation is 1.0001"),
        ({"truncation": float("nan")}, "^truncation is nan"),
        ({"truncation": None}, "^truncation is None"),
        ({"truncation": "1"}, "^truncation is '1'"),
        ({"format": "gif"}, "^format is 'gif'; it must be one of array, png$"),
        ({"format": ["png"]}, "^format is"),
    ],
)
def test_wrong_params(params: dict[str, Any], message: str) -> None:
    model, _ = served()
    with pytest.raises(RequestError, match=message):
        model.predict(ONE_ROW, params)


def test_the_answer_is_the_sentence_alone() -> None:
    error = RequestError("seed is wrong")
    error.message = f"Failed to predict data '{'9, ' * 10**5}'. Error: {error.message}"  # as the server does
    assert "seed is wrong" in error.serialize_as_json()
    assert len(error.serialize_as_json()) < 200
