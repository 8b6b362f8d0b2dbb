"""Networks of timm and torchvision: from noise in a file of their library's form to predictions, and back from disk."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from benchmarks.backbones import NAMES, row, side_of
from competition.errors import UserError
from pipeline.models.base import ModelContext
from pipeline.models.networks import weights
from pipeline.models.networks.backbones import backbone
from pipeline.models.networks.pretrained import start_from_imagenet
from pipeline.models.networks.registry import build_network
from pipeline.models.networks.state import State, heads
from pipeline.models.networks.weights import find_weights, weights_file
from pipeline.models.recipe import choose_recipes
from tests.pipeline.models.small import CLASSES, draw

ROOT = Path(__file__).resolve().parents[4]
QUICK = ("timm/mobilenetv3_small_050", "timm/vit_tiny_patch16_224", "torchvision/shufflenet_v2_x0_5")
FEW, FEWER = draw(32, seed=1, shape=(64, 64)), draw(8, seed=2, shape=(64, 64))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hugging Face Hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def noise(name: str) -> State:
    """Random weights for the published number of classes and image size."""
    known = backbone(name)
    torch.manual_seed(0)
    return known.build(known.classes, shape=known.input_size).state_dict()


def in_hub(name: str, hub: Path, **changed: torch.Tensor) -> State:
    """Noise as the hub's cache holds a timm network: a blob that is named by its hash, and a link to it."""
    state, repository = noise(name) | changed, weights_file(name).repository
    folder = hub / f"models--{repository.replace('/', '--')}"
    for part in ("blobs", "snapshots/0123"):
        (folder / part).mkdir(parents=True)
    save_file({key: value.contiguous() for key, value in state.items()}, hub / "new")
    blob = folder / "blobs" / hashlib.sha256((hub / "new").read_bytes()).hexdigest()
    (hub / "new").rename(blob)
    (folder / "snapshots/0123/model.safetensors").symlink_to(blob)
    return state


def in_folder(name: str, folder: Path) -> State:
    """Noise in a file that is named as torchvision names it."""
    state = noise(name)
    folder.mkdir()
    torch.save(state, folder / f"{weights_file(name).stem}-0123abcd.pth")
    return state


def published(name: str, folder: Path) -> tuple[State, Path | None]:
    """Noise in the library's own form, and the folder to be given with --weights, if it has to be."""
    if name.startswith("timm/"):
        return in_hub(name, folder), None
    return in_folder(name, folder), folder


def trains_and_predicts(name: str, hub: Path, folder: Path) -> None:
    _, given = published(name, hub)
    (recipe,) = choose_recipes([name])
    recipe = recipe.model_copy(update={"input_size": side_of(name), "epochs": 2, "batch_size": 8})
    model = recipe.build(ModelContext(CLASSES, folder, weights=given)).fit(*FEW, *FEWER)
    assert len(model.trained) == 2  # the head, then all
    model.save(folder)
    probabilities = model.predict_proba(FEWER[0])
    np.testing.assert_array_equal(recipe.load(folder).predict_proba(FEWER[0]), probabilities)
    assert probabilities.shape == (8, CLASSES)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", QUICK)
def test_a_network_of_a_library_trains_and_predicts_the_same_after_it_was_saved(name, hub, tmp_path):
    trains_and_predicts(name, hub, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_forty_networks_train_and_predict_and_the_table_says_which_are_folded(name, hub, tmp_path):
    trains_and_predicts(name, hub, tmp_path / "run")
    assert row(name) in (ROOT / "docs/BACKBONES.md").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", QUICK)
def test_all_weights_but_the_head_s_are_the_published_ones(name, hub):
    state, given = published(name, hub)
    network = build_network(name, CLASSES, (224, 224))
    start_from_imagenet(network, name, given, (224, 224))
    own, head = network.state_dict(), tuple(f"{each}." for each in heads(network))
    changed = {key for key in own if not torch.equal(own[key], state[key])}
    assert changed == {key for key in own if key.startswith(head)} != set()


def test_position_embeddings_are_resampled_to_the_size_of_the_images(hub):
    name = "timm/vit_tiny_patch16_224"
    state = in_hub(name, hub, pos_embed=torch.linspace(-1, 1, 192).repeat(1, 1 + 14 * 14, 1))
    network = build_network(name, CLASSES, (64, 64))
    start_from_imagenet(network, name, None, (64, 64))
    torch.testing.assert_close(network.pos_embed.detach(), state["pos_embed"][:, : 1 + 4 * 4])
    assert torch.equal(network.blocks[0].mlp.fc1.weight, state["blocks.0.mlp.fc1.weight"])


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("timm/convnext_tniy", "timm/convnext_tiny"),
        ("timm/resnet18.a9_in1k", "timm/resnet18.a1_in1k"),
        ("torchvision/resnet52", "torchvision/resnet50"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name, near):
    with pytest.raises(UserError, match=f"has no network '{name}'; did you mean .*{near}") as refusal:
        choose_recipes([name])
    assert "\n" not in str(refusal.value)


def test_normalisation_and_size_are_those_of_the_library():
    known = backbone("timm/vit_tiny_patch16_224")
    assert known.normalisation.mean == (127.5,) * 3 and known.input_size == (224, 224) and known.takes_one_size
    known = backbone("torchvision/efficientnet_b1")
    assert known.normalisation.mean == pytest.approx((123.675, 116.28, 103.53)) and known.input_size == (240, 240)
    assert not known.takes_one_size


def test_a_size_that_a_network_cannot_be_built_for_is_refused_with_its_own():
    with pytest.raises(UserError, match=r"does not take images of 64x64 pixels .*; set input_size = 224") as refusal:
        build_network("torchvision/maxvit_t", 3, (64, 64))
    assert "\n" not in str(refusal.value)


def test_a_network_that_takes_one_size_only_is_built_for_its_own_where_the_recipe_names_none(tmp_path, hub):
    in_hub("timm/vit_tiny_patch16_224", hub)
    (recipe,) = choose_recipes(["timm/vit_tiny_patch16_224"])
    recipe = recipe.model_copy(update={"epochs": 2, "batch_size": 8})
    model = recipe.build(ModelContext(CLASSES, tmp_path)).fit(*draw(8, seed=1), *draw(4, seed=2))
    assert model.input_size == (224, 224)
    assert model.normalisation.mean == (127.5,) * 3


def test_weights_that_cannot_be_brought_to_another_size_are_refused_with_their_own(hub):
    in_hub("timm/levit_128s", hub)
    network = build_network("timm/levit_128s", 3, (64, 64))
    with pytest.raises(UserError, match=r"do not fit images of 64x64 pixels: .* set input_size = 224 in the recipe"):
        start_from_imagenet(network, "timm/levit_128s", None, (64, 64))


def test_arguments_that_a_library_does_not_know_are_refused():
    for name in ("timm/resnet18", "torchvision/resnet18"):
        with pytest.raises(UserError, match=f"network {name}: .*unexpected keyword argument 'depht'.*fix the recipe"):
            build_network(name, 3, (64, 64), depht=3)


@pytest.mark.parametrize(
    ("name", "drops"),
    [
        ("timm/convnext_atto", True),
        ("torchvision/efficientnet_b0", True),
        ("timm/dla46x_c", False),
        ("torchvision/squeezenet1_1", False),
    ],
)
def test_paths_are_dropped_in_networks_that_have_some(name, drops):
    network = backbone(name).build(3, shape=(64, 64), drop_path=0.5)
    dropping = [each for each in network.modules() if type(each).__name__ in ("DropPath", "StochasticDepth")]
    chances = [getattr(each, "drop_prob", getattr(each, "p", 0)) for each in dropping]
    assert (max(chances) == pytest.approx(0.5, abs=0.05)) if drops else not chances


@pytest.mark.parametrize(
    ("place", "file"),
    [
        ("resnet18.a1_in1k", "model.safetensors"),
        ("models--timm--resnet18.a1_in1k/snapshots/1", "pytorch_model.bin"),
        ("resnet18-a1-in1k/pytorch/default/1", "model.safetensors"),
        (".", "resnet18.a1_in1k.pth"),
        (".", "resnet18_a1_0.pth"),
        (".", "resnet18.safetensors"),
    ],
)
def test_a_given_folder_may_hold_them_as_the_hub_as_kaggle_or_as_timm_names_them(tmp_path, place, file):
    path = tmp_path / place / file
    path.parent.mkdir(parents=True, exist_ok=True)
    state = noise("timm/resnet18")
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    assert find_weights("timm/resnet18", tmp_path) == path


def test_safetensors_come_before_pickles(tmp_path):
    state = noise("timm/resnet18")
    torch.save(state, tmp_path / "resnet18.bin")
    save_file(state, tmp_path / "resnet18.safetensors")
    assert find_weights("timm/resnet18", tmp_path).suffix == ".safetensors"


def test_a_damaged_file_in_the_hub_s_cache_is_refused(hub):
    in_hub("timm/mobilenetv3_small_050", hub)
    (blob,) = hub.rglob("blobs/*")
    damaged = bytearray(blob.read_bytes())
    damaged[-1] ^= 4
    blob.write_bytes(damaged)
    with pytest.raises(UserError, match=r"model\.safetensors is damaged: its SHA-256"):
        find_weights("timm/mobilenetv3_small_050")


class Hub(BaseHTTPRequestHandler):
    """Sends what ``content`` holds as the hub does: a redirection that tells the hash, then the file."""

    content: ClassVar[dict[str, bytes]] = {}
    promised = ""

    def do_GET(self) -> None:
        if self.path.startswith("/cdn/"):
            body = self.content[self.path.removeprefix("/cdn")]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        elif self.path in self.content:
            self.send_response(302)
            self.send_header("X-Linked-Etag", f'"{self.promised}"')
            self.send_header("Location", f"/cdn{self.path}")
            self.end_headers()
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def internet(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """The hub on this machine, with no file yet, and an empty cache of torch."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.setattr(Hub, "content", {})
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        there = weights_file("timm/resnet18")
        urls = tuple(
            url.replace("https://huggingface.co", f"http://127.0.0.1:{server.server_port}") for url in there.urls
        )
        monkeypatch.setattr(weights, "weights_file", lambda network: replace(there, urls=urls))
        yield Hub
        server.shutdown()


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_weights_are_downloaded_from_the_hub_with_the_hash_that_it_tells(internet, tmp_path, monkeypatch, file):
    state = noise("timm/resnet18")
    save_file(state, tmp_path / file) if file.endswith("safetensors") else torch.save(state, tmp_path / file)
    content = (tmp_path / file).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(Hub, "content", {f"/timm/resnet18.a1_in1k/resolve/main/{file}": content})
    monkeypatch.setattr(Hub, "promised", digest)
    path = find_weights("timm/resnet18")
    assert path.name == f"resnet18.a1_in1k-{digest}{path.suffix}" and path.read_bytes() == content
    monkeypatch.setattr(Hub, "content", {})
    assert find_weights("timm/resnet18") == path


def test_a_download_with_another_hash_is_not_kept(internet, tmp_path, monkeypatch):
    monkeypatch.setattr(Hub, "content", {"/timm/resnet18.a1_in1k/resolve/main/model.safetensors": b"half of it"})
    monkeypatch.setattr(Hub, "promised", "0" * 64)
    with pytest.raises(UserError, match="is damaged"):
        find_weights("timm/resnet18")
    assert not list((tmp_path / "torch").rglob("*.safetensors"))


def test_what_the_hub_does_not_have_is_named_with_where_to_get_it_and_how_to_attach_it(internet):
    with pytest.raises(UserError) as refusal:
        find_weights("timm/resnet18")
    message = str(refusal.value)
    for words in (
        "resnet18.a1_in1k.safetensors (47 MB)",
        "Not Found",
        "model.safetensors as",
        "--model-sources OWNER/",
    ):
        assert words in message
    assert "\n" not in message


def test_a_hub_that_is_switched_off_is_not_asked(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="are not downloaded, as HF_HUB_OFFLINE is set; download https"):
        find_weights("timm/resnet18")


def test_a_notebook_s_input_that_is_named_so_and_fits_another_network_is_refused(hub, tmp_path, monkeypatch):
    (tmp_path / "resnet18.a1_in1k").mkdir()
    save_file(noise("timm/mobilenetv3_small_050"), tmp_path / "resnet18.a1_in1k" / "model.safetensors")
    monkeypatch.setattr(weights, "KAGGLE_INPUT", tmp_path)
    weights._attached.cache_clear()
    with pytest.raises(UserError, match=r"does not fit timm/resnet18: conv1\.weight is missing"):
        find_weights("timm/resnet18")
    weights._attached.cache_clear()
