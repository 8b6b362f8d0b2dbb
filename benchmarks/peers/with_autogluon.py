"""AutoGluon's AutoMM, from random weights, for small images: python with_autogluon.py CONTEST OUTPUT MINUTES"""

import json
import sys
from pathlib import Path

import pandas as pd
import timm
import torch
from autogluon.multimodal import MultiModalPredictor
from PIL import Image
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

contest, output, minutes = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
EPOCHS_A_MINUTE = 0.6  # for a schedule that ends within the time, on two cores

tables = {name: pd.read_csv(contest / f"{name}.csv", dtype=str) for name in ("train", "val", "test")}
paths = {name: table.assign(image=f"{contest}/{name}_images/" + table["image"]) for name, table in tables.items()}
side = max(Image.open(paths["train"]["image"][0]).size)

checkpoint = output / "checkpoint"  # without one on the disk it asks the hub for weights
checkpoint.mkdir()
network = timm.create_model("resnet18", num_classes=0)
torch.save(network.state_dict(), checkpoint / "pytorch_model.bin")
pretrained = {"input_size": [3, side, side], "mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}
config = {"architecture": "resnet18", "num_features": network.num_features, "pretrained_cfg": pretrained}
(checkpoint / "config.json").write_text(json.dumps(config), encoding="utf-8")

predictor = MultiModalPredictor(label="label", problem_type="multiclass", path=output / "model")
predictor.fit(
    paths["train"],
    tuning_data=paths["val"],
    time_limit=int(60 * minutes),
    hyperparameters={
        "model.names": ["timm_image"],
        "model.timm_image.checkpoint_name": str(checkpoint),
        "env.num_gpus": 0,
        "env.precision": "bf16-mixed",
        "env.per_gpu_batch_size": 128,
        "optim.lr": 1e-3,
        "optim.lr_choice": "single_stage",
        "optim.max_epochs": max(1, int(EPOCHS_A_MINUTE * minutes)),
    },
)

for name, answer in (("val", "validation.csv"), ("test", "submission.csv")):
    labels = predictor.predict(paths[name][["image"]])
    tables[name][["image"]].assign(label=labels.to_numpy()).to_csv(output / answer, index=False)
