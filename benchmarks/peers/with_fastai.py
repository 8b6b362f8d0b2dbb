"""fastai, from scratch, for small images: python with_fastai.py CONTEST OUTPUT MINUTES"""
# ruff: noqa: F403, F405

import sys
import time

import pandas as pd
from fastai.callback.training import ShortEpochCallback
from fastai.vision.all import *

begun = time.monotonic()
contest, output, minutes = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
PARTS = 0.02, 0.08  # of an epoch, whose difference tells how long one takes, without the start

tables = {name: pd.read_csv(contest / f"{name}.csv", dtype=str) for name in ("train", "val", "test")}
for name, table in tables.items():
    table["file"] = f"{name}_images/" + table["image"]
    table["is_valid"] = name == "val"
labelled = pd.concat([tables["train"], tables["val"]])
side = PILImage.create(contest / labelled["file"].iloc[0]).size[0]
columns = {"fn_col": "file", "label_col": "label", "valid_col": "is_valid"}
shifted = [CropPad(side + side // 4, pad_mode=PadMode.Zeros), RandomCrop(side)]
transforms = {"item_tfms": shifted, "batch_tfms": [Flip(), Normalize.from_stats(*imagenet_stats)]}

set_seed(0)
dls = ImageDataLoaders.from_df(labelled, contest, **columns, **transforms, bs=128, num_workers=2)


def learner():
    network = xresnet18(n_out=dls.c, act_cls=Mish)
    return Learner(dls, network, loss_func=LabelSmoothingCrossEntropyFlat(), metrics=accuracy)


def seconds(part):
    started = time.monotonic()
    learner().fit(1, cbs=ShortEpochCallback(part))
    return time.monotonic() - started


first, second = (seconds(part) for part in PARTS)
epoch = (second - first) / (PARTS[1] - PARTS[0])
epochs = max(1, int((60 * minutes - (time.monotonic() - begun)) / epoch))
print(f"{epoch:.1f} s an epoch, {epochs} epochs", flush=True)
learn = learner()
learn.fit_one_cycle(epochs, 3e-3)

for name, answer in (("val", "validation.csv"), ("test", "submission.csv")):
    predicted, _ = learn.get_preds(dl=dls.test_dl(tables[name]))
    labels = [dls.vocab[place] for place in predicted.argmax(1)]
    tables[name][["image"]].assign(label=labels).to_csv(output / answer, index=False)
