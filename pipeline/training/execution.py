"""Trains the models of a plan, one after the other or side by side, and writes the plan with what was done."""

from dataclasses import replace
from itertools import chain

from pipeline.models.base import NotTrained
from pipeline.runtime import distributed
from pipeline.training.planning import ModelPlan, Plan
from pipeline.training.trainer import Trainer


def train_model(trainer: Trainer, model: ModelPlan, plan: Plan) -> Plan:
    """Train one model, and write the plan with what was done; see ``with_result``."""
    plan = with_result(plan, model, trained_or_not(trainer, model, plan))
    if distributed.is_main():
        plan.write(trainer.folder / "plan.json")
    return plan


def train_side_by_side(trainer: Trainer, plan: Plan) -> None:
    """Share the models out to the ranks, and write the plan with what was done; see ``with_result``."""
    shares = plan.shares(distributed.world_size())

    def train_share(number: int) -> list[ModelPlan | NotTrained]:
        own = replace(plan, models=shares[number])
        return [trained_or_not(trainer, model, own) for model in own.models]

    results = distributed.side_by_side(train_share, len(shares))
    for model, result in zip(chain.from_iterable(shares), chain.from_iterable(results), strict=True):
        plan = with_result(plan, model, result)
    if distributed.is_main():
        plan.write(trainer.folder / "plan.json")


def trained_or_not(trainer: Trainer, model: ModelPlan, plan: Plan) -> ModelPlan | NotTrained:
    try:
        return trainer.train(model, plan)
    except NotTrained as error:
        return error


def with_result(plan: Plan, model: ModelPlan, result: ModelPlan | NotTrained) -> Plan:
    """The plan with what was done. A model that could not be trained is left out of it.

    Raises NotTrained if there is no other model.
    """
    if not isinstance(result, NotTrained):
        return plan.with_model(result)
    if plan.models == (model,):
        raise result
    print(f"warning: left out: {result}")
    return plan.without(model, str(result))
