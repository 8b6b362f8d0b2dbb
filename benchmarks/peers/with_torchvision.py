"""torchvision's ResNet-18 from scratch, for small images: python with_torchvision.py CONTEST OUTPUT MINUTES"""

import sys
import time
from itertools import islice
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image
from torchvision.models import resnet18
from torchvision.transforms import v2

begun = time.monotonic()
contest, output, minutes = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
BATCH, PEAK = 128, 0.1
TIMED = 20  # batches, to measure how long an epoch takes

tables = {name: pd.read_csv(contest / f"{name}.csv", dtype=str) for name in ("train", "val", "test")}
classes = sorted(tables["train"]["label"].unique())


class Images(Dataset):
    """The images of a table, decoded once and kept in memory."""

    def __init__(self, name, transform):
        table, folder = tables[name], contest / f"{name}_images"
        self.images = [decode_image(str(folder / image), ImageReadMode.RGB) for image in table["image"]]
        known = table["label"] if "label" in table else [classes[0]] * len(table)
        self.labels = [classes.index(label) for label in known]
        self.transform = transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, row):
        return self.transform(self.images[row]), self.labels[row]


plain = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])


def augmented(side):
    return v2.Compose([v2.RandomCrop(side, padding=side // 8), v2.RandomHorizontalFlip(), plain])


torch.manual_seed(0)
train = Images("train", None)
train.transform = augmented(train.images[0].shape[-1])
loader = DataLoader(train, BATCH, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True)


def network():
    network = resnet18(num_classes=len(classes))
    network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)  # images are small: the first layer keeps their size
    return network.to(memory_format=torch.channels_last)


def train_batch(model, optimiser, images, labels):
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images.to(memory_format=torch.channels_last))
    loss = F.cross_entropy(logits.float(), labels, label_smoothing=0.1)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


def sgd(model):
    return torch.optim.SGD(model.parameters(), PEAK, momentum=0.9, weight_decay=5e-4, nesterov=True)


def seconds_of_an_epoch():
    model = network()
    optimiser, batches = sgd(model), iter(loader)
    train_batch(model, optimiser, *next(batches))
    started = time.monotonic()
    losses = [train_batch(model, optimiser, *batch) for batch in islice(batches, TIMED)]
    return (time.monotonic() - started) / len(losses) * len(loader)


@torch.inference_mode()
def predict(model, name):
    model.eval()
    with torch.autocast("cpu", torch.bfloat16):
        logits = [model(images) for images, _ in DataLoader(Images(name, plain), 256)]
    labels = [classes[place] for place in torch.cat(logits).argmax(1)]
    return tables[name][["image"]].assign(label=labels)


epoch = seconds_of_an_epoch()
epochs = max(1, int((60 * minutes - (time.monotonic() - begun)) / epoch))
print(f"{epoch:.1f} s an epoch, {epochs} epochs")
model = network()
optimiser = sgd(model)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK, total_steps=epochs * len(loader))
for number in range(epochs):
    model.train()
    for images, labels in loader:
        loss = train_batch(model, optimiser, images, labels)
        schedule.step()
    print(f"epoch {number + 1}: loss {loss:.3f}", flush=True)

predict(model, "val").to_csv(output / "validation.csv", index=False)
predict(model, "test").to_csv(output / "submission.csv", index=False)
