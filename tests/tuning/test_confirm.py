from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from src.config.params import Params
from src.core.errors import UserError
from src.tuning.confirm import (
    apply,
    candidates,
    chosen_trial,
    confirmed_table,
    confirming_plan,
    confirming_study,
    is_confirmed,
    remember,
)
from src.tuning.space import current_values
from src.tuning.study import all_values, enqueue
from tests.tuning.conftest import fill


def confirm(
    study: optuna.Study, storage: BaseStorage, params: Params, scores: dict[int, list[float]], top: int = 2
) -> tuple[optuna.Study, dict[int, str], int]:
    """Two other seeds for each of the best, with the given scores by trial."""
    chosen = candidates(study, params, top)
    made, target = confirming_study(study, storage, params, chosen, 2)
    plan = confirming_plan(study)
    for _ in range(sum(len(some) for some in scores.values())):
        trial = made.ask()
        plan(trial)
        made.tell(trial, scores[trial.params["trial"]].pop(0))
    return made, chosen, target


def test_the_best_mean_wins_and_not_the_best_single_score(
    study: optuna.Study, storage: BaseStorage, params: Params
) -> None:
    enqueue(study, current_values(params), params)
    fill(study, params, [5.0, 1.0, 2.0, 3.0])
    made, chosen, target = confirm(study, storage, params, {1: [4.0, 6.0], 2: [2.0, 3.0], 0: [5.0, 5.0]})
    assert chosen == {1: "search", 2: "search", 0: "params.yaml"}
    assert target == 6
    table = confirmed_table(made, chosen, study)
    assert list(table["trial"]) == [2, 1, 0]
    assert list(table["score mean"]) == [2.5, 5.0, 5.0]
    assert list(table["score std"]) == pytest.approx([0.5**0.5, 2**0.5, 0.0])
    assert list(table["score in search"]) == [2.0, 1.0, 5.0]
    assert not is_confirmed(study)
    remember(study, table)
    assert chosen_trial(study, None)[0].number == 2
    fill(study, params, [9.0])  # the confirmation does not know of it
    assert not is_confirmed(study)
    assert chosen_trial(study, None)[0].number == 1


def test_a_training_has_the_trials_values_and_another_seed(
    study: optuna.Study, storage: BaseStorage, params: Params
) -> None:
    fill(study, params, [1.0])
    made, _ = confirming_study(study, storage, params, candidates(study, params, 1), 2)
    plan = confirming_plan(study)
    values: list[dict[str, Any]] = [plan(made.ask()) for _ in range(2)]
    assert [one["train.seed"] for one in values] == [1, 2]
    whole = all_values(study, study.trials[0])
    assert all({**one, "train.seed": 0} == whole for one in values)


def test_a_pair_that_failed_is_queued_again_and_the_others_are_kept(
    study: optuna.Study, storage: BaseStorage, params: Params
) -> None:
    fill(study, params, [1.0])
    made, chosen, _ = confirm(study, storage, params, {0: [4.0]}, top=1)
    trial = made.ask()
    confirming_plan(study)(trial)
    trial.set_user_attr("reason", "RuntimeError: disk")
    made.tell(trial, state=TrialState.FAIL)
    again, target = confirming_study(study, storage, params, chosen, 2)
    assert target == 2
    assert [one.state for one in again.trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.WAITING]


def test_beyond_a_constraint_nobody_wins(study: optuna.Study, storage: BaseStorage, params: Params) -> None:
    fill(study, params, [1.0, 2.0])
    made, target = confirming_study(study, storage, params, chosen := candidates(study, params, 2), 1)
    for score, excess in ((1.0, 0.3), (3.0, -0.1)):
        trial = made.ask()
        confirming_plan(study)(trial)
        trial.set_constraint("coverage", excess)
        made.tell(trial, score)
    table = confirmed_table(made, chosen, study)
    assert list(zip(table["trial"], table["feasible"], strict=True)) == [(1, True), (0, False)]
    remember(study, table)
    assert (target, chosen_trial(study, None)[0].number) == (2, 1)
    remember(study, table[table["trial"] == 0].reset_index(drop=True))
    assert is_confirmed(study)
    with pytest.raises(UserError, match=r"no confirmed trial satisfies tune\.constraints"):
        chosen_trial(study, None)


def test_a_front_is_confirmed_and_has_no_winner(storage: BaseStorage, params: Params, study: optuna.Study) -> None:
    two = optuna.create_study(storage=storage, study_name="two", directions=["minimize", "minimize"])
    for name, value in study.user_attrs.items():
        two.set_user_attr(name, value)
    two.set_user_attr("objectives", ["score", "seconds_per_kimg"])
    for values in ([1.0, 2.0], [2.0, 1.0]):
        two.add_trial(optuna.create_trial(values=values))
    table = confirmed_table(
        *confirming_study(two, storage, params, candidates(two, params, 2), 1)[:1], candidates(two, params, 2), two
    )
    remember(two, table)
    with pytest.raises(UserError, match="choose one with --apply --trial N"):
        chosen_trial(two, None)


def test_a_confirmation_belongs_to_one_search(study: optuna.Study, storage: BaseStorage, params: Params) -> None:
    fill(study, params, [1.0])
    made, *_ = confirm(study, storage, params, {0: [4.0, 4.0]}, top=1)
    study.set_user_attr("identity", "of another study with this name")
    with pytest.raises(UserError, match="confirms an earlier study named 'default', with other trials"):
        confirming_study(study, storage, params, candidates(study, params, 1), 2)
    with pytest.raises(UserError, match="confirms the trials of another study"):
        apply(made, params, 0)
