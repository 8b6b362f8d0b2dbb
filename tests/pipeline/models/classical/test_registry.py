"""Classical classifiers: scikit-learn's predictions, bounded memory, and saving without loss."""

import re
import tracemalloc
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.special import softmax
from sklearn import linear_model
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.metrics import log_loss
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from competition.errors import UserError
from competition.metrics import ACCURACY, F1_MACRO, KAPPA, LOG_LOSS, METRICS
from pipeline.data.cache import open_cache
from pipeline.data.fitting import resize
from pipeline.models.classical import pixels
from pipeline.models.classical.base import fit_temperature, soften
from pipeline.models.classical.registry import (
    CLASSIFIERS,
    BernoulliNaiveBayes,
    Classifier,
    GaussianNaiveBayes,
    GradientBoosting,
    LogisticRegression,
    MultinomialNaiveBayes,
    NearestNeighbours,
    RandomForest,
    SupportVectorMachine,
)
from pipeline.models.recipe import RECIPES, load_recipe

CLASSES = 7
GRID = [{"kernel": kernel, "C": C} for kernel in ("linear", "rbf") for C in (0.01, 3.0)]
MEASURED_BY = (ACCURACY, LOG_LOSS, F1_MACRO, KAPPA, METRICS["gap"])
ARGUMENTS = {
    "gaussian-nb": {},
    "multinomial-nb": {},
    "bernoulli-nb": {},
    "svm": {"grid": GRID},
    "knn": {"neighbours": range(1, 20)},
    "logreg": {"grid": [{"C": 0.001}, {"C": 0.1}]},
    "forest": {"trees": 25},
    "boosting": {"iterations": 8},
    "svm in little memory": {"grid": GRID, "memory": 9e4},
    "knn in little memory": {"neighbours": range(1, 20), "memory": 9e4},
}

Sample = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def draw(images: int, seed: int, contrast: float = 25.0, grey: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Images whose classes overlap; the larger the contrast, the less. One corner pixel is always black."""
    centres = np.random.default_rng(99).normal(128, contrast, (CLASSES, 8, 8, 1 if grey else 3))
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=images)
    noisy = centres[labels] + rng.normal(0, 60, (images, *centres.shape[1:]))
    pixels = np.clip(noisy, 0, 255).astype(np.uint8)
    pixels[:, 0, 0] = 0
    return (np.repeat(pixels, 3, axis=3) if grey else pixels), labels


@pytest.fixture(params=["colour", "grey"])
def sample(request: pytest.FixtureRequest) -> Sample:
    """300 training and 150 validation images with their labels."""
    grey = request.param == "grey"
    return *draw(300, seed=1, grey=grey), *draw(150, seed=2, grey=grey)


def few_classes(classes: int, sample: Sample | None = None) -> Sample:
    """The images of a sample that belong to the first classes."""
    images, labels, validation, validation_labels = sample or (*draw(300, seed=1), *draw(150, seed=2))
    known, known_validation = labels < classes, validation_labels < classes
    return images[known], labels[known], validation[known_validation], validation_labels[known_validation]


def standardised(images: np.ndarray, validation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's predictions from all three channels."""
    flat, flat_validation = (part.reshape(len(part), -1).astype(float) for part in (images, validation))
    scaler = StandardScaler().fit(flat)
    return scaler.transform(flat), scaler.transform(flat_validation)


def kind(name: str) -> type[Classifier]:
    return CLASSIFIERS[name.split()[0]]


def build(name: str, classes: int = CLASSES) -> Classifier:
    return kind(name)(classes, **ARGUMENTS[name])


def test_every_classifier_is_tested():
    assert {kind(name) for name in ARGUMENTS} == set(CLASSIFIERS.values())


def test_naive_bayes_predicts_what_scikit_learns_gaussian_nb_predicts(sample: Sample):
    images, labels, validation, _ = sample
    x, z = standardised(images, validation)
    predicted = GaussianNaiveBayes(CLASSES).fit(*sample).predict_proba(validation).argmax(axis=1)
    np.testing.assert_array_equal(predicted, GaussianNB().fit(x, labels).predict(z))


@pytest.mark.parametrize("k", [1, 2, 3, 8, 19])
def test_k_neighbours_predict_what_scikit_learns_classifier_predicts_for_every_k(sample: Sample, k: int):
    images, labels, validation, _ = sample
    x, z = standardised(images, validation)
    predicted = NearestNeighbours(CLASSES, [k]).fit(*sample).predict_proba(validation).argmax(axis=1)
    np.testing.assert_array_equal(predicted, KNeighborsClassifier(k).fit(x, labels).predict(z))


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine"])
@pytest.mark.parametrize("scale", ["standard", "unit"])
def test_neighbours_are_those_of_the_metric_and_scale_asked_for(sample: Sample, metric: str, scale: str):
    images, labels, validation, _ = sample
    x, z = standardised(images, validation) if scale == "standard" else (part / 255 for part in (images, validation))
    x, z = x.reshape(len(x), -1), z.reshape(len(z), -1)
    predicted = NearestNeighbours(CLASSES, [5], [metric], scale).fit(*sample).predict_proba(validation).argmax(axis=1)
    np.testing.assert_array_equal(predicted, KNeighborsClassifier(5, metric=metric).fit(x, labels).predict(z))


def test_every_metric_has_its_curve_and_the_best_of_all_is_kept(sample: Sample):
    metrics = ("euclidean", "manhattan", "cosine")
    model = NearestNeighbours(CLASSES, [3, 9], metrics).fit(*sample)
    alone = [NearestNeighbours(CLASSES, [3, 9], [metric]).fit(*sample).grid_scores for metric in metrics]
    assert model.grid_scores == [row for rows in alone for row in rows]
    best = max(model.grid_scores, key=lambda row: row["score"])
    assert (model.metric, model.k) == (best["metric"], best["neighbours"])


def test_an_unknown_metric_is_refused_by_name():
    with pytest.raises(UserError, match=r"'hamming'.*cosine"):
        NearestNeighbours(CLASSES, [3], ["hamming"])


def test_validation_images_are_not_searched_again_to_predict_them(sample: Sample, monkeypatch: pytest.MonkeyPatch):
    model = NearestNeighbours(CLASSES, [3, 5]).fit(*sample)
    expected = model.predict_proba(sample[2].copy())
    monkeypatch.setattr(NearestNeighbours, "_search", None)
    np.testing.assert_array_equal(model.predict_proba(sample[2]), expected)


def test_multinomial_naive_bayes_predicts_what_scikit_learns_predicts(sample: Sample):
    images, labels, validation, _ = sample
    x, z = (part.reshape(len(part), -1) for part in (images, validation))
    predicted = MultinomialNaiveBayes(CLASSES).fit(*sample).predict_proba(validation).argmax(axis=1)
    np.testing.assert_array_equal(predicted, MultinomialNB().fit(x, labels).predict(z))


def test_bernoulli_naive_bayes_predicts_what_scikit_learns_predicts(sample: Sample):
    images, labels, validation, _ = sample
    x, z = standardised(images, validation)
    predicted = BernoulliNaiveBayes(CLASSES).fit(*sample).predict_proba(validation).argmax(axis=1)
    np.testing.assert_array_equal(predicted, BernoulliNB().fit(x, labels).predict(z))


@pytest.mark.parametrize("classes", [2, CLASSES])
def test_logistic_regression_predicts_what_scikit_learns_predicts(classes: int):
    images, labels, validation, validation_labels = few_classes(classes)
    x, z = standardised(images, validation)
    model = LogisticRegression(classes, [{"C": 0.01}]).fit(images, labels, validation, validation_labels)
    expected = linear_model.LogisticRegression(C=0.01, max_iter=300).fit(x, labels).predict(z)
    np.testing.assert_array_equal(model.predict_proba(validation).argmax(axis=1), expected)


@pytest.mark.parametrize("classes", [2, CLASSES])
def test_a_random_forest_votes_as_scikit_learns_does(classes: int):
    images, labels, validation, validation_labels = few_classes(classes)
    x, z = (part.reshape(len(part), -1) for part in (images, validation))
    model = RandomForest(classes, trees=25, smallest_leaf=2).fit(images, labels, validation, validation_labels)
    plain = RandomForestClassifier(25, min_samples_leaf=2, random_state=0).fit(x, labels).predict_proba(z)
    ours = np.exp(model._scores(validation)) * 26 - 1 / classes
    np.testing.assert_allclose(ours / 25, plain, atol=1e-12)


@pytest.mark.parametrize("classes", [2, CLASSES])
def test_gradient_boosting_has_the_log_odds_of_scikit_learns(classes: int):
    images, labels, validation, validation_labels = few_classes(classes)
    x, z = (part.reshape(len(part), -1) for part in (images, validation))
    model = GradientBoosting(classes, iterations=15).fit(images, labels, validation, validation_labels)
    plain = HistGradientBoostingClassifier(max_iter=15, early_stopping=False, random_state=0).fit(x, labels)
    np.testing.assert_array_equal(softmax(model._scores(validation), axis=1).argmax(axis=1), plain.predict(z))
    np.testing.assert_allclose(softmax(model._scores(validation), axis=1), plain.predict_proba(z), rtol=1e-9)


@pytest.mark.parametrize("name", ["svm", "knn", "logreg", "forest", "boosting", "gaussian-nb"])
def test_features_standing_in_a_row_are_learnt_as_pixels_are(name: str):
    images, labels, validation, validation_labels = few_classes(CLASSES)
    features, validation = (np.float32(part / 7 - 20).reshape(len(part), 1, -1, 1) for part in (images, validation))
    predicted = build(name).fit(features, labels, validation, validation_labels).predict_proba(validation)
    assert (predicted.argmax(axis=1) == validation_labels).mean() > 0.5


@pytest.mark.parametrize("point", GRID, ids=str)
@pytest.mark.parametrize("classes", [2, CLASSES])
def test_every_machine_of_the_grid_predicts_what_scikit_learns_svc_predicts(sample: Sample, point: dict, classes: int):
    images, labels, validation, validation_labels = few_classes(classes, sample)
    x, z = standardised(images, validation)
    model = SupportVectorMachine(classes, [point]).fit(images, labels, validation, validation_labels)
    expected = SVC(kernel=point["kernel"], C=point["C"]).fit(x, labels).predict(z)
    np.testing.assert_array_equal(model.predict_proba(validation).argmax(axis=1), expected)


def test_a_tie_of_votes_goes_to_the_class_that_scikit_learns_svc_predicts():
    images, labels = draw(300, seed=1, contrast=2)
    validation, validation_labels = draw(1500, seed=2, contrast=2)
    x, z = standardised(images, validation)
    by_votes = SVC(kernel="linear", C=3.0).fit(x, labels)
    assert (by_votes.predict(z) != by_votes.decision_function(z).argmax(axis=1)).any()
    model = SupportVectorMachine(CLASSES, [{"kernel": "linear", "C": 3.0}])
    model.fit(images, labels, validation, validation_labels)
    np.testing.assert_array_equal(model.predict_proba(validation).argmax(axis=1), by_votes.predict(z))


def test_the_curve_holds_the_validation_accuracy_of_every_k_and_the_best_is_kept(
    sample: Sample,
):
    images, labels, validation, validation_labels = sample
    x, z = standardised(images, validation)
    model = NearestNeighbours(CLASSES, range(1, 20)).fit(*sample)
    scores = {k: KNeighborsClassifier(k).fit(x, labels).score(z, validation_labels) for k in range(1, 20)}
    assert {row["neighbours"]: row["score"] for row in model.grid_scores} == scores
    assert model.k == max(scores, key=scores.get)


def test_of_equally_good_numbers_of_neighbours_the_smaller_is_kept():
    images, labels = draw(200, seed=1, contrast=100)
    model = NearestNeighbours(CLASSES, [7, 3, 5]).fit(images, labels, *draw(50, seed=2, contrast=100))
    assert [row["score"] for row in model.grid_scores] == [1.0, 1.0, 1.0]
    assert model.k == 3


def test_more_neighbours_than_training_images_are_left_out_of_the_curve(sample: Sample):
    images, labels, *validation = sample
    model = NearestNeighbours(CLASSES, range(1, 20)).fit(images[:4], labels[:4], *validation)
    assert [row["neighbours"] for row in model.grid_scores] == [1, 2, 3, 4]
    model = NearestNeighbours(CLASSES, [9]).fit(images[:4], labels[:4], *validation)
    assert model.k == 4


def test_the_grid_table_holds_every_point_and_the_best_on_validation_is_kept(sample: Sample):
    validation, validation_labels = sample[2:]
    model = SupportVectorMachine(CLASSES, GRID).fit(*sample)
    accuracy = (model.predict_proba(validation).argmax(axis=1) == validation_labels).mean()
    assert [{"kernel": row["kernel"], "C": row["C"]} for row in model.grid_scores] == GRID
    assert max(row["score"] for row in model.grid_scores) == accuracy


@pytest.mark.parametrize("name", ["svm", "knn", "logreg", "svm in little memory"])
@pytest.mark.parametrize("metric", MEASURED_BY, ids=lambda metric: metric.name)
def test_the_point_that_is_best_by_the_metric_is_kept(name: str, metric, sample: Sample):
    model = build(name).measured_by(metric).fit(*sample)
    values = [row["score"] for row in model.grid_scores]
    best = max(values, key=metric.rank)
    assert metric(model.predict_proba(sample[2]), sample[3]) == pytest.approx(best)
    assert len(set(values)) > 1


def test_another_metric_may_keep_another_point():
    sample = (*draw(300, seed=1), *draw(150, seed=2))
    kept = {metric: NearestNeighbours(CLASSES, range(1, 40)).measured_by(metric) for metric in (ACCURACY, LOG_LOSS)}
    assert kept[ACCURACY].fit(*sample).k != kept[LOG_LOSS].fit(*sample).k


def test_a_saved_model_holds_the_scores_and_not_the_metric(sample: Sample, tmp_path: Path):
    build("logreg").measured_by(LOG_LOSS).fit(*sample).save(tmp_path)
    loaded = LogisticRegression.load(tmp_path)
    assert all(row.keys() == {"C", "score"} for row in loaded.grid_scores)
    assert not any("metric" in name for name in vars(loaded))


@pytest.mark.parametrize("name", ARGUMENTS)
def test_probabilities_are_a_distribution_and_their_log_loss_beats_a_blind_guess(name: str, sample: Sample):
    validation, validation_labels = sample[2:]
    probabilities = build(name).fit(*sample).predict_proba(validation)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (len(validation), CLASSES)
    assert probabilities.min() > 0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert log_loss(validation_labels, probabilities, labels=range(CLASSES)) < np.log(CLASSES)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_on_images_that_nothing_was_chosen_on_calibrated_probabilities_have_no_larger_log_loss(name: str):
    model = build(name).fit(*draw(300, seed=1, contrast=12), *draw(150, seed=2, contrast=12))
    images, labels = draw(1000, seed=3, contrast=12)
    calibrated, scores = model.predict_proba(images), model._scores(images)
    np.testing.assert_array_equal(calibrated.argmax(axis=1), scores.argmax(axis=1))
    uncalibrated = log_loss(labels, soften(scores, 1.0), labels=range(CLASSES))
    assert log_loss(labels, calibrated, labels=range(CLASSES)) <= uncalibrated + 0.005


@pytest.mark.parametrize("images", [20, 200])
def test_a_model_with_all_validation_images_right_is_the_surer_the_more_there_are_but_never_quite(images: int):
    labels = np.arange(images) % CLASSES
    scores = np.eye(CLASSES)[labels]
    sure = soften(scores, fit_temperature(scores, labels)).max()
    assert 1 / images / 2 < 1 - sure < 2 / images


def test_validation_images_of_a_class_never_seen_leave_the_temperature_as_it_is():
    labels = np.random.default_rng(0).integers(CLASSES, size=100)
    scores = np.random.default_rng(1).normal(2 * np.eye(CLASSES)[labels], 1)
    wider = np.pad(scores, ((0, 30), (0, 1)), mode="wrap")
    wider[:, CLASSES] = -np.inf
    alone = fit_temperature(np.delete(wider, CLASSES, axis=1)[:100], labels)
    assert fit_temperature(wider, np.append(labels, np.full(30, CLASSES))) == pytest.approx(alone, rel=0.02)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_class_without_training_images_is_all_but_ruled_out_at_a_finite_log_loss(name: str, sample: Sample):
    probabilities = build(name, CLASSES + 1).fit(*sample).predict_proba(sample[2])
    assert probabilities.shape == (150, CLASSES + 1)
    assert 0 < probabilities[:, CLASSES].max() < 1 / CLASSES
    assert probabilities.argmax(axis=1).max() < CLASSES


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_loaded_model_predicts_the_saved_one_to_the_bit_and_knows_all_it_knew(
    name: str, sample: Sample, tmp_path: Path
):
    model = build(name).fit(*sample)
    model.save(tmp_path / "model")
    loaded = kind(name).load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(sample[2]), model.predict_proba(sample[2]))
    assert loaded.parameters == model.parameters > 0
    assert getattr(loaded, "grid_scores", None) == getattr(model, "grid_scores", None)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_saving_replaces_the_model_that_was_there_and_leaves_nothing_else(name: str, sample: Sample, tmp_path: Path):
    images, labels, *validation = sample
    build(name).fit(images[:100], labels[:100], *validation).save(tmp_path)
    model = build(name).fit(*sample)
    model.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    loaded = kind(name).load(tmp_path)
    np.testing.assert_array_equal(loaded.predict_proba(validation[0]), model.predict_proba(validation[0]))


@pytest.mark.parametrize("name", ARGUMENTS)
def test_grey_images_are_learnt_from_one_channel(name: str):
    train, validation = draw(300, seed=1, grey=True), draw(150, seed=2, grey=True)
    assert build(name).fit(*train, *validation).copies == 3
    almost = train[0].copy()
    almost[0, 0, 0, 2] = 1
    assert build(name).fit(almost, train[1], *validation).copies == 1


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_pixel_that_never_varies_in_training_does_no_harm_where_it_varies_later(name: str, sample: Sample):
    model = build(name).fit(*sample)
    flickering = sample[2].copy()
    flickering[:, 0, 0] = 1
    assert np.isfinite(model.predict_proba(flickering)).all()


@pytest.mark.parametrize("name", ARGUMENTS)
def test_images_in_several_pieces_and_in_a_cache_give_the_answers_of_an_array(
    name: str, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    images, labels, *validation = sample
    expected = build(name).fit(*sample).predict_proba(validation[0])
    paths = [tmp_path / f"{row}.png" for row in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        cv2.imwrite(str(path), image[..., ::-1])
    cache = open_cache(paths, tmp_path / "cache")
    monkeypatch.setattr(pixels, "CHUNK_VALUES", 5000)
    in_pieces = build(name).fit(cache, labels, *validation).predict_proba(validation[0])
    # float32 products of other block sizes differ in their last bits, and the temperature with them
    np.testing.assert_allclose(in_pieces, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["gaussian-nb", "knn", "logreg"])
def test_large_images_are_seen_as_64_by_64(name: str, sample: Sample):
    images, labels, validation, known = sample
    large = [np.stack([resize(image, 160, 160) for image in each[:40]]) for each in (images, validation)]
    shrunk = [np.stack([resize(image, 64, 64) for image in each]) for each in large]
    model = build(name).fit(large[0], labels[:40], large[1], known[:40])
    expected = build(name).fit(shrunk[0], labels[:40], shrunk[1], known[:40])
    np.testing.assert_array_equal(model.predict_proba(large[1]), expected.predict_proba(shrunk[1]))


@pytest.mark.parametrize("name", ARGUMENTS)
def test_separable_images_are_learnt(name: str):
    train, validation = draw(300, seed=1, contrast=60), draw(200, seed=2, contrast=60)
    predicted = build(name).fit(*train, *validation).predict_proba(validation[0]).argmax(axis=1)
    assert (predicted == validation[1]).mean() > 0.95


def test_more_images_than_kernel_matrices_have_room_for_leave_fewer_to_exact_machines_and_one_line_says_so(
    sample: Sample, capsys: pytest.CaptureFixture
):
    images, labels, *validation = sample
    rare = np.append(np.flatnonzero(labels > 0), np.flatnonzero(labels == 0)[0])
    model = SupportVectorMachine(CLASSES, GRID, memory=9e4)
    trials = model.fit(images[rare], labels[rare], *validation).grid_scores
    said = capsys.readouterr().out
    assert re.fullmatch(rf"svm: all {len(rare)} training images need .* approximate machines on all images, .*\n", said)
    assert [{key: row[key] for key in ("kernel", "C")} for row in trials] == GRID * 2
    assert ["machine" in row for row in trials] == [False] * len(GRID) + [True] * len(GRID)
    assert model.seen.tolist() == list(range(CLASSES))


def test_approximate_machines_that_saw_all_images_are_kept_where_they_beat_exact_ones_that_saw_few():
    sample = (*draw(1000, seed=1, contrast=12), *draw(500, seed=2, contrast=12))
    model = SupportVectorMachine(CLASSES, GRID, memory=4e5).fit(*sample)
    exact, approximate = accuracies(model)
    assert approximate > exact + 0.1
    assert model.chosen["machine"] == "approximate"
    assert (model.predict_proba(sample[2]).argmax(axis=1) == sample[3]).mean() == approximate


def test_exact_machines_that_saw_nearly_all_images_are_kept_where_they_beat_approximate_ones():
    sample = (*draw(200, seed=1, contrast=12), *draw(500, seed=2, contrast=12))
    model = SupportVectorMachine(CLASSES, GRID, memory=9e5).fit(*sample)
    exact, approximate = accuracies(model)
    assert exact > approximate
    assert "machine" not in model.chosen
    assert (model.predict_proba(sample[2]).argmax(axis=1) == sample[3]).mean() == exact


def accuracies(model: SupportVectorMachine) -> list[float]:
    """The best validation scores of the exact machines and of the approximate machines."""
    return [
        max(row["score"] for row in model.grid_scores if ("machine" in row) == approximate)
        for approximate in (False, True)
    ]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("scale", ["standard", "unit"])
def test_nearest_neighbours_without_room_for_all_pixels_search_their_components_and_one_line_says_so(
    metric: str, scale: str, capsys: pytest.CaptureFixture
):
    images, labels, validation, _ = sample = (*draw(1000, seed=1), *draw(150, seed=2))
    model = NearestNeighbours(CLASSES, [5], [metric], scale, memory=9e5).fit(*sample)
    assert re.fullmatch(r"knn: .* 192 principal components are searched instead\n", capsys.readouterr().out)
    x, z = standardised(images, validation) if scale == "standard" else (part / 255 for part in (images, validation))
    x, z = x.reshape(len(x), -1), z.reshape(len(z), -1)
    expected = KNeighborsClassifier(5, metric=metric).fit(x, labels).predict(z)
    # With as many components as values, no information is lost.
    np.testing.assert_array_equal(model.predict_proba(validation).argmax(axis=1), expected)


@pytest.mark.parametrize(
    ("name", "needed"), [("svm", 12 * 900**2 + 4 * 900 * (150 + 192)), ("knn", 5 * 900 * 192)], ids=["svm", "knn"]
)
def test_a_fit_claims_the_memory_that_its_rule_says(name: str, needed: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pixels, "CHUNK_VALUES", 5000)
    sample = (*draw(900, seed=1), *draw(150, seed=2))
    model = CLASSIFIERS[name](CLASSES, **ARGUMENTS[name] | {"memory": needed})
    tracemalloc.start()
    try:
        model.fit(*sample)
        assert tracemalloc.get_traced_memory()[1] < 1.2 * needed + 500_000  # for the pieces in work
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["svm", "knn"])
def test_no_line_is_printed_where_there_is_room(name: str, sample: Sample, capsys: pytest.CaptureFixture):
    build(name).fit(*sample)
    assert capsys.readouterr().out == ""


def test_the_images_drawn_for_exact_machines_depend_on_the_seed_alone(sample: Sample):
    first, again, other = (
        SupportVectorMachine(CLASSES, GRID, seed, memory=2e5).fit(*sample).grid_scores for seed in (0, 0, 1)
    )
    assert first == again != other


def test_a_support_vector_machine_refuses_training_images_of_one_class_only(sample: Sample):
    images, labels, *validation = sample
    with pytest.raises(UserError, match="one class"):
        SupportVectorMachine(CLASSES, GRID).fit(images[labels == 3], labels[labels == 3], *validation)


def test_an_unknown_kernel_is_refused_by_name():
    with pytest.raises(UserError, match=r"'sigmoid'.*linear or rbf"):
        SupportVectorMachine(CLASSES, [{"kernel": "sigmoid", "C": 1.0}])


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_cost_grows_with_every_measure_of_the_work(name: str):
    usual = {"train_images": 4000, "validation_images": 1000, "values": 3072}
    cost = build(name).cost
    assert cost(**usual) > 0
    for measure in ("train_images", "validation_images", "values"):
        assert cost(**{**usual, measure: usual[measure] * 2}) > cost(**usual)


@pytest.mark.parametrize(("name", "more"), [("svm", 1.0), ("knn", 0.0)])
def test_the_cost_in_little_memory_is_that_of_the_other_way(name: str, more: float):
    """An SVM tries both, exact machines on few images; a search in components takes the place of the other."""
    task = {"train_images": 20_000, "validation_images": 2_000, "values": 12_288}
    memory = 1e9 if name == "svm" else 1e8
    arguments = ARGUMENTS[name] | {"memory": memory}
    cheap, dear = (
        CLASSIFIERS[name](CLASSES, **each).cost(**task) for each in (arguments, arguments | {"memory": 1e13})
    )
    assert cheap < dear / 2
    few = CLASSIFIERS[name](CLASSES, **arguments).cost(**task | {"train_images": 5_000})
    assert cheap > more * few


def test_the_metrics_recipe_tries_what_the_report_tried():
    chosen = load_recipe(RECIPES / "dhc-knn-metrics.toml").classifier
    model = CLASSIFIERS[chosen.name](CLASSES, **chosen.arguments).fit(*draw(40, seed=1), *draw(9, seed=2))
    tried = [(row["metric"], row["neighbours"]) for row in model.grid_scores]
    assert tried == list(product(["euclidean", "manhattan", "cosine"], [3, 5, 6, 9, 11]))
    assert model.scale == "unit"
