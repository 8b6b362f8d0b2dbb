"""NeuralNetwork on a CUDA device, in mixed precision."""

import numpy as np
import pytest
import torch

from pipeline.models.neural.network import NetworkPlan, NeuralNetwork
from tests.pipeline.models.small import CLASSES, NARROW, SAMPLE, sprint

pytestmark = pytest.mark.gpu
TOLERANCE = 0.02  # of a probability, between float16 and float32


@pytest.fixture
def fitted(cuda, tmp_path) -> NeuralNetwork:
    plan = NetworkPlan(epochs=8, tier=NARROW)
    return NeuralNetwork(sprint(), CLASSES, tmp_path, plan=plan, device=cuda).fit(*SAMPLE)


def test_a_network_learns_on_the_gpu_what_can_be_learnt(fitted):
    assert (fitted.predict_proba(SAMPLE[2]).argmax(axis=1) == SAMPLE[3]).mean() > 0.9


def test_a_network_trained_on_the_gpu_predicts_the_same_on_the_cpu(fitted, tmp_path):
    fitted.save(tmp_path / "saved")
    on_cpu = NeuralNetwork.load(tmp_path / "saved", torch.device("cpu"))
    np.testing.assert_allclose(on_cpu.predict_proba(SAMPLE[2]), fitted.predict_proba(SAMPLE[2]), atol=TOLERANCE)


def test_an_interrupted_training_goes_on_on_the_gpu(cuda, tmp_path):
    def stop(progress: float, best: float) -> None:
        if progress > 0.5:
            raise KeyboardInterrupt

    training = {"recipe": sprint(), "classes": CLASSES, "folder": tmp_path, "device": cuda}
    training["plan"] = NetworkPlan(epochs=4, tier=NARROW)
    with pytest.raises(KeyboardInterrupt):
        NeuralNetwork(**training, on_epoch=stop).fit(*SAMPLE)
    begun: list[float] = []
    NeuralNetwork(**training, on_epoch=lambda progress, best: begun.append(progress)).fit(*SAMPLE)
    assert begun == [1.0]
