"""Which networks of timm and torchvision are folded for prediction, as the table of docs/BACKBONES.md.

    python benchmarks/backbones.py > TABLE.md

Builds each network with random weights for a few classes, and tries the fast path on it: whether torch.fx can trace and
fold it does not depend on the weights. Takes two minutes.
"""

import argparse
import sys
from contextlib import redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import fx

from pipeline.models.fast.predictor import Predictor
from pipeline.models.networks.backbones import Backbone, backbone
from pipeline.models.networks.registry import build_network
from pipeline.models.networks.state import differences, heads
from pipeline.models.networks.weights import in_form_of

SIDE, CLASSES = 64, 5
TIMM = (
    *("resnet18", "resnest14d", "regnety_002", "densenet121", "dla46x_c", "hrnet_w18_small", "repvgg_a0"),
    *("nf_regnet_b1", "convnext_atto", "convnextv2_atto", "inception_next_atto", "efficientnet_b0"),
    *("tf_efficientnetv2_b0", "mobilenetv3_small_050", "mobilenetv4_conv_small_050", "ghostnet_100", "hgnetv2_b0"),
    *("mobileone_s0", "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "eva02_tiny_patch14_224"),
    *("swin_tiny_patch4_window7_224", "maxvit_rmlp_pico_rw_256", "levit_128s", "xcit_nano_12_p16_224"),
    *("resmlp_12_224", "mobilevit_xxs", "pvt_v2_b0", "edgenext_xx_small", "mambaout_femto"),
)
TORCHVISION = (
    *("resnet18", "mobilenet_v3_small", "efficientnet_b0", "regnet_y_400mf", "shufflenet_v2_x0_5"),
    *("squeezenet1_1", "densenet121", "googlenet", "mnasnet0_5", "swin_t"),
)
NAMES = (*(f"timm/{name}" for name in TIMM), *(f"torchvision/{name}" for name in TORCHVISION))
OTHER_SIDES = {"timm/eva02_tiny_patch14_224": 70, "timm/levit_128s": 224, "timm/resmlp_12_224": 224}


def main() -> None:
    argparse.ArgumentParser(description="Draw the table of docs/BACKBONES.md.").parse_args()
    print("| network | million weights | trained at | other sizes | folded for prediction |")
    print("|---|---|---|---|---|")
    for name in NAMES:
        with redirect_stdout(sys.stderr):  # what is said of a network that cannot be folded
            line = row(name)
        print(line, flush=True)


def row(name: str) -> str:
    """The network's row of the table."""
    known = backbone(name)
    assert known is not None
    side = side_of(name)
    network = build_network(name, CLASSES, (side, side))
    weights = sum(weights.numel() for weights in network.parameters()) / 1e6
    predictor = Predictor(network, known.normalisation, (side, side), torch.device("cpu"))
    is_folded = isinstance(predictor.prepared().network, fx.GraphModule)
    cells = [f"`{name}`", f"{weights:.1f}", known.input_size[0], sizes(name, known), "yes" if is_folded else "no"]
    return f"| {' | '.join(map(str, cells))} |"


def side_of(name: str) -> int:
    """Pixels a side of the images that it is tried on."""
    return OTHER_SIDES.get(name, SIDE)


def sizes(name: str, known: Backbone) -> str:
    """Which sizes it takes besides the one that its weights were trained on; half of that is tried."""
    if not known.takes_one_size:
        return "any"
    half = (known.input_size[0] // 2,) * 2
    network = build_network(name, CLASSES, half)
    published = known.build(known.classes, shape=known.input_size).state_dict()
    brought = in_form_of(network, name, published, half)
    return "none" if differences(network.state_dict(), brought, heads(network)) else "with `input_size`"


if __name__ == "__main__":
    main()
