"""Ultralytics' classification from its YAML, for small images: python with_ultralytics.py CONTEST OUTPUT MINUTES"""

import shutil
import sys
from pathlib import Path

import pandas as pd
from PIL import Image
from ultralytics import YOLO

contest, output, minutes = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])

tables = {name: pd.read_csv(contest / f"{name}.csv", dtype=str) for name in ("train", "val", "test")}
data = output / "data"
shutil.rmtree(data, ignore_errors=True)
for name in ("train", "val"):  # it reads a folder for each class
    for label in tables[name]["label"].unique():
        (data / name / label).mkdir(parents=True)
    for image, label in tables[name][["image", "label"]].itertuples(index=False):
        (data / name / label / image).symlink_to(contest / f"{name}_images" / image)
side = max(Image.open(contest / "train_images" / tables["train"]["image"][0]).size)

YOLO("yolo11n-cls.yaml").train(
    data=data, imgsz=side, time=minutes / 60, batch=128, plots=False, project=output, name="run"
)

model = YOLO(output / "run" / "weights" / "best.pt")
for name, answer in (("val", "validation.csv"), ("test", "submission.csv")):
    files = [contest / f"{name}_images" / image for image in tables[name]["image"]]
    results = model.predict(files, imgsz=side, batch=256, stream=True, verbose=False)
    labels = {Path(result.path).name: result.names[result.probs.top1] for result in results}
    tables[name][["image"]].assign(label=tables[name]["image"].map(labels)).to_csv(output / answer, index=False)
