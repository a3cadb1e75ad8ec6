from pathlib import Path

import matplotlib
import optuna
from matplotlib import pyplot
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from PIL import Image

from src.config.params import Params
from src.tuning.record import save_plots
from tests.tuning.conftest import ask, fill

SINGLE = {"history", "importances", "parallel_coordinate", "slice", "intermediate_values"}


def pictures(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.png")}


def test_plots_are_pictures_and_a_page_and_leave_nothing_behind(
    study: optuna.Study, params: Params, tmp_path: Path
) -> None:
    style = dict(matplotlib.rcParams)
    assert len(save_plots(study, tmp_path)) == 5
    assert not pictures(tmp_path)
    fill(study, params, [30.0])
    missing = save_plots(study, tmp_path)
    assert pictures(tmp_path) == {"history", "slice"}
    assert "Importance of the parameters: no plot yet, it needs two finished trials with different values" in missing
    fill(study, params, [None, 1.0, 900.0, 2.0])
    ask(study, params)
    study.tell(ask(study, params), state=TrialState.FAIL)
    assert save_plots(study, tmp_path) == []
    assert pictures(tmp_path) == SINGLE
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as picture:
            assert min(picture.size) > 300
    page = (tmp_path / "plots.html").read_text()
    assert page.count("plotly.js v") == 1
    assert "cdn.plot.ly/plotly" not in page.partition("</script>")[2]
    assert page.count("<h2>") == 5
    assert "log10 score" in page
    assert pyplot.get_fignums() == []
    left = {name: value for name, value in matplotlib.rcParams.items() if style[name] != value and name != "backend"}
    assert left == {}


def test_equal_scores_have_no_importances(study: optuna.Study, params: Params, tmp_path: Path) -> None:
    fill(study, params, [1.0, 1.0, 1.0])
    save_plots(study, tmp_path)
    assert pictures(tmp_path) == {"history", "slice"}


def test_a_plot_that_cannot_be_drawn_is_told_and_the_others_are_made(
    study: optuna.Study, params: Params, tmp_path: Path
) -> None:
    for score in (1.0, 2.0, 3.0):  # the same values with other scores, as a GPU gives
        study.enqueue_trial({"train.lr_generator": 0.01, "model.latent_size": 4})
        study.tell(ask(study, params), score)
    (missing,) = [one for one in save_plots(study, tmp_path) if not one.startswith("Intermediate values")]
    assert missing.startswith("Importance of the parameters: no plot, ")
    assert pictures(tmp_path) == {"history", "parallel_coordinate", "slice"}


def test_trials_from_different_spaces_can_be_plotted(study: optuna.Study, params: Params, tmp_path: Path) -> None:
    fill(study, params, [1.0, 2.0])
    other = params.replace({"tune.space": {"model.dropout": {"low": 0.0, "high": 0.5}}})
    fill(study, other, [3.0, 4.0])
    save_plots(study, tmp_path)
    assert pictures(tmp_path) >= {"history", "slice", "parallel_coordinate"}


def test_several_objectives_have_a_front_and_their_own_plots(tmp_path: Path) -> None:
    objectives = ["coverage", "seconds_per_kimg"]
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.set_user_attr("objectives", objectives)
    family, width = CategoricalDistribution(["mlp", "dcgan"]), IntDistribution(16, 48, step=16)
    rate = FloatDistribution(1e-4, 1e-2, log=True)
    for number in range(8):
        values = {"model.family": ["mlp", "dcgan"][number % 2], "train.lr_generator": 1e-3 * (1 + number)}
        kinds: dict[str, optuna.distributions.BaseDistribution] = {"model.family": family, "train.lr_generator": rate}
        if number % 2:
            values["model.width"], kinds["model.width"] = 16 * (1 + number % 3), width
        trial = optuna.create_trial(values=[number / 8, 1.0 + number], params=values, distributions=kinds)
        study.add_trial(trial)
    assert save_plots(study, tmp_path) == []
    kinds_of = ("history", "importances", "parallel_coordinate", "slice")
    assert pictures(tmp_path) == {"pareto_front", *(f"{kind}_{name}" for kind in kinds_of for name in objectives)}
