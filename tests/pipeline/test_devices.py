"""The device switch."""

import pytest
import torch

from competition.errors import UserError
from pipeline.devices import choose_device

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def test_cpu_is_an_order():
    assert choose_device("cpu") == torch.device("cpu")


@needs_no_gpu
def test_auto_takes_the_cpu_where_there_is_no_gpu():
    assert choose_device("auto") == torch.device("cpu")


@needs_no_gpu
def test_a_gpu_that_is_ordered_and_not_there_is_an_error_that_says_what_to_do():
    with pytest.raises(UserError, match=r"--device cuda: .*; use --device cpu"):
        choose_device("cuda")
