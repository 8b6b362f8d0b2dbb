"""The blend: never worse than its best model by the metric, calibrated where that counts, honest about the unseen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from competition.errors import UserError
from competition.metrics import ACCURACY, BALANCED_ACCURACY, F1_MACRO, LOG_LOSS, Metric
from pipeline.data.predictions import Predictions
from pipeline.ensemble.blend import Blend
from pipeline.ensemble.blend import select_blend as select_blend_by
from pipeline.runtime import memory


def select_blend(models, ids, labels, metric: Metric = ACCURACY) -> Blend:
    return select_blend_by(models, ids, labels, metric)


def some_ids(count: int) -> tuple[str, ...]:
    return tuple(f"{number:05d}" for number in range(count))


def guesses(labels: np.ndarray, classes: int, skill: float, seed: int) -> Predictions:
    """A model whose logits are noise plus ``skill`` for the right class."""
    logits = np.random.default_rng(seed).normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), labels] += skill
    odds = np.exp(logits)
    return Predictions(some_ids(len(labels)), odds / odds.sum(axis=1, keepdims=True))


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 10, 500)


@pytest.fixture
def models(labels) -> dict[str, Predictions]:
    return {f"model{seed}": guesses(labels, 10, 1 + 0.3 * seed, seed) for seed in range(5)}


def accuracy(predictions: Predictions, ids: tuple[str, ...], labels: np.ndarray) -> float:
    return float((predictions.aligned_to(ids).predicted_labels == labels).mean())


def test_a_blend_that_would_not_hold_on_unseen_images_is_the_best_model_alone():
    """Among coin flips, a selection always finds a blend that looks better than each of them."""
    labels = np.random.default_rng(0).integers(0, 2, 60)
    blends = [
        select_blend(
            {f"coin{flip}": guesses(labels, 2, 0, 100 * draw + flip) for flip in range(12)}, some_ids(60), labels
        )
        for draw in range(8)
    ]
    alone = [blend for blend in blends if len(blend.weights) == 1]
    assert len(alone) >= 6
    assert all(blend.weights == {blend.best_single: 1.0} for blend in alone)


def test_models_that_err_on_different_images_make_a_better_blend(models, labels):
    blend = select_blend(models, some_ids(500), labels)
    assert blend.best_single == "model4"
    assert len(blend.weights) >= 3
    assert blend.score.value > blend.single_score.value + 0.05
    assert sum(blend.weights.values()) == pytest.approx(1)
    assert min(blend.weights.values()) > 0


def test_the_reported_score_is_that_of_the_applied_blend(models, labels):
    ids = some_ids(500)
    blend = select_blend(models, ids, labels)
    assert accuracy(blend.apply(models), ids, labels) == blend.score.value
    assert accuracy(models[blend.best_single], ids, labels) == blend.single_score.value


def test_the_first_gain_is_the_best_model_and_all_together_are_the_blend(models, labels):
    blend = select_blend(models, some_ids(500), labels)
    first, *_ = blend.gains.items()
    assert first == (blend.best_single, blend.single_score.value)
    assert list(blend.gains) == list(blend.weights)
    assert sum(blend.gains.values()) == pytest.approx(blend.score.value)


def test_rows_are_joined_by_id(models, labels):
    ids = some_ids(500)
    shuffled = {
        name: model.aligned_to(tuple(np.random.default_rng(seed).permutation(ids).tolist()))
        for seed, (name, model) in enumerate(models.items())
    }
    assert select_blend(shuffled, ids, labels) == select_blend(models, ids, labels)


def test_an_applied_blend_is_the_normalised_product_of_powers_joined_by_id(models, labels):
    ids = some_ids(500)
    blend = select_blend(models, ids, labels)
    first, *others = blend.powers
    backwards = {name: models[name].aligned_to(ids[::-1]) for name in others} | {first: models[first]}
    product = np.prod([models[name].probabilities ** power for name, power in blend.powers.items()], axis=0)
    applied = blend.apply(backwards)
    assert applied.ids == ids
    np.testing.assert_allclose(
        applied.probabilities, product / product.sum(axis=1, keepdims=True), rtol=1e-4, atol=1e-6
    )


def test_the_order_of_the_models_makes_no_difference(models, labels):
    backwards = dict(reversed(models.items()))
    assert select_blend(backwards, some_ids(500), labels) == select_blend(models, some_ids(500), labels)


def test_one_model_is_its_own_blend(models, labels):
    blend = select_blend({"alone": models["model2"]}, some_ids(500), labels)
    assert blend.weights == {"alone": 1.0}
    assert blend.score == blend.single_score
    assert blend.expected == blend.score
    np.testing.assert_array_equal(
        blend.apply({"alone": models["model2"]}).probabilities, models["model2"].probabilities
    )


def test_a_useless_model_is_left_out():
    labels = np.arange(200) % 4
    perfect = Predictions(some_ids(200), np.eye(4)[labels])
    blend = select_blend({"noise": guesses(labels, 4, 0, 1), "perfect": perfect}, some_ids(200), labels)
    assert blend.weights == {"perfect": 1.0}


@pytest.mark.parametrize("images", [60, 300])
def test_on_few_images_good_models_get_the_same_power_once_each_is_calibrated(images):
    labels = np.random.default_rng(0).integers(0, 10, images)
    models = {f"model{seed}": guesses(labels, 10, 1.5, seed) for seed in range(3)}
    models["model0"] = overconfident(models["model0"], 4)
    blend = select_blend(models, some_ids(images), labels)
    assert set(blend.weights) == set(models)
    alone = {name: select_blend({name: each}, some_ids(images), labels, LOG_LOSS) for name, each in models.items()}
    ratios = [blend.powers[name] / alone[name].powers[name] for name in models]
    assert max(ratios) == pytest.approx(min(ratios), rel=0.01)


def test_on_few_images_a_weak_model_gets_no_vote_beside_a_strong_one():
    labels = np.random.default_rng(0).integers(0, 10, 60)
    models = {"strong": guesses(labels, 10, 5, 1), "weak": guesses(labels, 10, 0.5, 2)}
    assert select_blend(models, some_ids(60), labels).weights == {"strong": 1.0}


def test_a_weak_model_may_help_with_a_small_weight():
    """Half of it would overrule the strong model where that is right; a third decides where that wavers."""
    labels = np.zeros(400, dtype=np.int64)
    strong, weak = np.full(400, 0.7), np.full(400, 0.1)
    strong[:40], weak[:40] = 0.49, 0.9
    models = {
        name: Predictions(some_ids(400), np.stack([right, 1 - right], axis=1))
        for name, right in {"strong": strong, "weak": weak}.items()
    }
    blend = select_blend(models, some_ids(400), labels)
    assert blend.single_score.value == 0.9
    assert blend.score.value == 1
    assert 0 < blend.weights["weak"] <= 1 / 3


@pytest.mark.parametrize(("skill", "joins"), [(0.0, False), (0.3, True)])
def test_who_knows_something_joins_however_weak_and_who_guesses_does_not(skill, joins):
    labels = np.random.default_rng(0).integers(0, 10, 2000)
    models = {"strong": guesses(labels, 10, 3, 1), "weak": guesses(labels, 10, skill, 2)}
    assert ("weak" in select_blend(models, some_ids(2000), labels).weights) == joins


@pytest.mark.parametrize("sureness", [0.5, 2.0])
def test_how_sure_a_model_is_of_itself_changes_its_power_and_not_the_blend(models, labels, sureness):
    ids = some_ids(500)
    odds = models["model4"].probabilities.astype(np.float64) ** sureness
    other = models | {"model4": Predictions(ids, odds / odds.sum(axis=1, keepdims=True))}
    before, after = select_blend(models, ids, labels), select_blend(other, ids, labels)
    assert after.powers["model4"] * sureness == pytest.approx(before.powers["model4"], rel=0.01)
    np.testing.assert_allclose(
        after.apply(other).probabilities, before.apply(models).probabilities, rtol=0.1, atol=1e-4
    )


def test_of_two_models_equally_often_right_the_surer_one_is_the_best_single():
    labels = np.array([0, 1, 0, 1, 0])
    sure, unsure = (Predictions(some_ids(5), np.where(np.eye(2)[labels] > 0, p, 1 - p)) for p in (0.9, 0.6))
    assert select_blend({"a": unsure, "b": sure}, some_ids(5), labels).best_single == "b"


def test_what_selection_did_not_see_tells_a_lucky_pick_from_skill():
    """Of forty models that guess, the best looks good on the images that chose it; unseen ones say 0.1."""
    labels = np.random.default_rng(1).integers(0, 10, 300)
    models = {f"guess{seed}": guesses(labels, 10, 0, seed) for seed in range(40)}
    blend = select_blend(models, some_ids(300), labels)
    assert blend.score.value > 0.13
    assert blend.expected.value < 0.11
    assert blend.expected.low < 0.1 < blend.expected.high


def test_the_table_shows_members_and_how_the_expectation_was_measured(models, labels):
    blend = select_blend(models, some_ids(500), labels)
    header, first, *_, last = blend.table().splitlines()
    assert header.split() == ["member", "weight", "gain"]
    best = blend.single_score.value
    assert first.split() == ["model4", f"{blend.weights['model4']:.2f}", f"{best:.4f}"]
    assert f"blend: accuracy {blend.score.value:.4f} on the validation images that chose it" in last
    assert f"{blend.expected.value:.4f} expected on new images (cross-validated)" in last
    assert f"best single model: {best:.4f} (model4)" in last


def test_a_member_without_predictions_is_named(models, labels):
    blend = select_blend(models, some_ids(500), labels)
    del models["model4"]
    with pytest.raises(UserError, match="the blend needs the predictions of model4"):
        blend.apply(models)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda models: {}, "no model to blend"),
        (
            lambda models: models | {"short": models["model0"].aligned_to(("00001",))},
            "no prediction for 499 of 500 ids: 00000,",
        ),
        (
            lambda models: models | {"other": Predictions(some_ids(500), np.ones((500, 1)))},
            "models of 1, 10 classes cannot be blended",
        ),
    ],
)
def test_what_cannot_be_blended_is_said(models, labels, change, words):
    with pytest.raises(UserError, match=words):
        select_blend(change(models), some_ids(500), labels)


@st.composite
def blending(draw) -> tuple[dict[str, Predictions], np.ndarray]:
    images, classes, models = draw(st.integers(1, 12)), draw(st.integers(2, 4)), draw(st.integers(1, 5))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=images, max_size=images))
    # few different odds, so that ties are common
    odds = st.lists(st.integers(0, 3), min_size=images * classes, max_size=images * classes)
    predictions = {}
    for number in range(models):
        counts = np.array(draw(odds), dtype=np.float64).reshape(images, classes) + 1e-3
        predictions[f"m{number}"] = Predictions(some_ids(images), counts / counts.sum(axis=1, keepdims=True))
    return predictions, np.array(labels)


def overconfident(model: Predictions, power: float) -> Predictions:
    """The same classes, with probabilities nearer to 0 and 1."""
    odds = model.probabilities.astype(np.float64) ** power
    return Predictions(model.ids, odds / odds.sum(axis=1, keepdims=True))


def test_the_metric_says_which_model_is_the_best(models, labels):
    """The most accurate one is so sure of its mistakes that by log loss another one is better."""
    models = models | {"model4": overconfident(models["model4"], 9)}
    assert select_blend(models, some_ids(500), labels, ACCURACY).best_single == "model4"
    assert select_blend(models, some_ids(500), labels, LOG_LOSS).best_single == "model3"


def test_by_log_loss_a_single_model_is_calibrated_and_by_accuracy_stays_as_it_is(models, labels):
    ids, alone = some_ids(500), {"alone": overconfident(models["model4"], 6)}
    blend = select_blend(alone, ids, labels, LOG_LOSS)
    assert blend.weights == {"alone": 1.0}
    assert 1 / 5 < blend.powers["alone"] < 1 / 2
    assert blend.score.value < blend.single_score.value - 0.1
    assert LOG_LOSS(blend.apply(alone).probabilities, labels) == blend.score.value
    np.testing.assert_array_equal(blend.apply(alone).predicted_labels, alone["alone"].predicted_labels)
    assert select_blend(alone, ids, labels, ACCURACY).powers == {"alone": 1.0}


def test_a_model_that_knows_less_than_nothing_costs_no_more_than_a_blind_guess():
    labels = np.arange(60) % 3
    wrong = Predictions(some_ids(60), np.eye(3)[(labels + 1) % 3] * 0.9 + 0.1 / 3)
    assert select_blend({"wrong": wrong}, some_ids(60), labels, LOG_LOSS).score.value == pytest.approx(np.log(3))


def test_gains_by_log_loss_say_how_much_it_fell(models, labels):
    blend = select_blend(models, some_ids(500), labels, LOG_LOSS)
    first, *others = blend.gains.values()
    assert first - sum(others) == pytest.approx(blend.score.value)
    assert len(others) >= 2 and all(gain > 0 for gain in others)
    _, first_row, second_row, *_, last = blend.table().splitlines()
    assert first_row.split()[-1] == f"{first:.4f}" and second_row.split()[-1] == f"+{others[0]:.4f}"
    assert last.startswith(f"blend: log loss {blend.score.value:.4f} on the validation images that chose it")


def test_a_blend_by_log_loss_has_no_greater_one_than_that_by_accuracy(models, labels):
    by_accuracy, by_log_loss = (select_blend(models, some_ids(500), labels, each) for each in (ACCURACY, LOG_LOSS))
    assert by_log_loss.score.values["log-loss"] <= by_accuracy.score.values["log-loss"]


@given(blending(), st.sampled_from([ACCURACY, LOG_LOSS, F1_MACRO, BALANCED_ACCURACY]))
@settings(max_examples=40, deadline=None)
def test_the_blend_of_few_images_is_hardly_worse_on_validation_than_any_model(case, metric):
    models, labels = case
    ids = some_ids(len(labels))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("competition.metrics.RESAMPLES", 8)  # of the intervals, which take most of the time
        blend: Blend = select_blend(models, ids, labels, metric)
    singles = [metric.rank(metric(model.probabilities, labels)) for model in models.values()]
    blended, best = blend.apply(models).probabilities, models[blend.best_single].probabilities
    draws = [np.random.default_rng(seed).integers(0, len(ids), len(ids)) for seed in range(300)]
    differences = [metric(blended[rows], labels[rows]) - metric(best[rows], labels[rows]) for rows in draws]
    assert blend.single_score.rank == max(singles)
    assert blend.score.rank >= max(singles) or max(singles) - blend.score.rank < 1.5 * np.std(differences)
    assert metric(blend.apply(models).probabilities, labels) == blend.score.value
    assert sum(blend.weights.values()) == pytest.approx(1)
    assert blend.expected.low <= blend.expected.high


def test_a_blend_is_the_same_if_it_is_computed_block_by_block(models, labels, monkeypatch):
    blend = select_blend(models, some_ids(500), labels)
    whole = blend.apply(models)
    monkeypatch.setattr(memory, "VALUES_AT_ONCE", 700)
    np.testing.assert_allclose(blend.apply(models).probabilities, whole.probabilities, rtol=1e-6)


def test_with_many_values_the_powers_are_fitted_on_a_sample_and_scored_on_all_images(models, labels, monkeypatch):
    complete = select_blend(models, some_ids(500), labels)
    monkeypatch.setattr(memory, "VALUES_AT_ONCE", 3000)  # 300 of the 500 images
    blend = select_blend(models, some_ids(500), labels)
    assert blend.powers.keys() & complete.powers.keys()
    assert blend.score.value == accuracy(blend.apply(models), some_ids(500), labels)
    assert blend.expected.value == pytest.approx(complete.expected.value, abs=0.05)
