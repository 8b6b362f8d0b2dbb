"""Classical models within their share: on all planned images if there is time, otherwise on as many as fit."""

from types import SimpleNamespace

import pytest

from pipeline.models.base import NotTrained, Workload
from pipeline.models.recipe import choose_recipes
from pipeline.runtime import time_limit
from pipeline.runtime.time_limit import check_time
from pipeline.training import fit_in_time as module
from pipeline.training.fit_in_time import fit_in_time
from pipeline.training.planning import ModelPlan

WORKLOAD = Workload(train_images=8000, validation_images=10, values=3072, classes=10, folds=1)
(BAYES,) = choose_recipes(["dhc-gaussian-nb"])


class Machine:
    """A machine on which a fit takes ``a_thousand`` seconds for each thousand images, checked at each hundred."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, a_thousand: float) -> None:
        self.now, self.a_thousand = 1000.0, a_thousand
        self.fitted: list[int] = []
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr(module, "time", clock)
        monkeypatch.setattr(time_limit, "time", clock)

    def fit(self, model: ModelPlan) -> int:
        images = model.images or WORKLOAD.train_images
        for _ in range(0, images, 100):
            self.now += self.a_thousand / 10
            check_time()
        self.fitted.append(images)
        return images

    def fit_in_time(self, planned: float, share: float, is_required: bool = False) -> tuple[ModelPlan, int]:
        end = self.now + share
        return fit_in_time(ModelPlan(BAYES, seconds=planned), WORKLOAD, end, self.fit, is_required)


def test_what_surely_fits_is_fitted_once_on_all_images(monkeypatch):
    machine = Machine(monkeypatch, a_thousand=0.1)
    model, result = machine.fit_in_time(planned=1.0, share=10.0)
    assert (model, result) == (ModelPlan(BAYES, seconds=1.0), 8000)
    assert machine.fitted == [8000]


def test_what_may_not_fit_is_tried_on_a_few_images_and_then_fitted_on_all(monkeypatch):
    machine = Machine(monkeypatch, a_thousand=0.5)
    model, result = machine.fit_in_time(planned=5.0, share=10.0)
    assert (model.images, result) == (None, 8000)
    assert machine.fitted == [1000, 8000]


def test_a_slow_machine_fits_as_many_images_as_there_is_time_for(monkeypatch):
    machine = Machine(monkeypatch, a_thousand=2.0)
    model, result = machine.fit_in_time(planned=5.0, share=10.0)
    assert 1500 <= model.images == result < 8000
    assert machine.now <= 1010


def test_a_machine_that_slows_down_leaves_the_few_images_as_the_result(monkeypatch):
    machine = Machine(monkeypatch, a_thousand=0.5)
    few = machine.fit

    def slower_afterwards(model: ModelPlan) -> int:
        images = few(model)
        machine.a_thousand = 50.0
        return images

    machine.fit = slower_afterwards
    model, result = machine.fit_in_time(planned=5.0, share=10.0)
    assert model.images == result == 1000
    assert machine.now <= 1010 + 5.0


def test_what_surely_fits_and_does_not_is_fitted_on_a_few_images(monkeypatch):
    machine = Machine(monkeypatch, a_thousand=2.0)
    model, result = machine.fit_in_time(planned=1.0, share=10.0)
    assert model.images == result == 1000
    assert machine.now <= 1010.5


def test_without_time_for_a_few_images_the_model_is_left_out_unless_it_is_the_only_one(monkeypatch):
    machine = Machine(monkeypatch, a_thousand=100.0)
    with pytest.raises(NotTrained, match="dhc-gaussian-nb: a fit on only 1,000 images takes longer than its share"):
        machine.fit_in_time(planned=5.0, share=10.0)
    model, result = machine.fit_in_time(planned=5.0, share=10.0, is_required=True)
    assert model.images == result == 1000


def test_features_that_took_longer_than_the_share_are_not_wasted_on_a_few_images(monkeypatch):
    machine = Machine(monkeypatch, a_thousand=0.1)
    (recipe,) = choose_recipes(["lite0-logreg"])
    seen: list[bool] = []

    def fit(model: ModelPlan) -> int:
        machine.now += 0 if seen else 12.0  # the features, which are kept
        seen.append(True)
        return machine.fit(model)

    plan, begun = ModelPlan(recipe, seconds=8.0), machine.now
    model, result = fit_in_time(plan, WORKLOAD, begun + 10, fit, is_required=True, latest=begun + 100)
    assert (model.images, result) == (None, 8000)
    assert machine.now < begun + 20
