"""The file of each id is found wherever competitions put it, and never that of another."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from competition.errors import UserError
from competition.images_on_disk import ImagesOnDisk

TABLE = Path("train.csv")
Draw = Callable[..., Path]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Make empty files in a folder."""

    def touch(*names: str, root: str = "zoo") -> Path:
        for name in names:
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / root

    return touch


def found(root: Path, split: str, *ids: str) -> list[str]:
    images = ImagesOnDisk([root])
    assert images.has_all(split, ids)
    return [path.relative_to(root).as_posix() for path in images.paths(TABLE, split, ids)]


def refusal(root: Path, split: str, *ids: str) -> str:
    with pytest.raises(UserError) as error:
        ImagesOnDisk([root]).paths(TABLE, split, ids)
    return str(error.value)


@pytest.mark.parametrize(
    "folder",
    [
        *("train_images", "train", "Train", "images", "train/train", "train_v2", "images_training_rev1"),
        *("stage_1_train", "train-jpg", "zoo-contest/train", "train/images/07", "data/TrainImages", "."),
    ],
)
def test_images_are_found_in_any_folder(draw, folder):
    root = draw(f"{folder}/a.png", f"{folder}/b.JPG", "test/a.png")
    assert found(root, "train", "a.png", "b") == [
        path.removeprefix("./") for path in (f"{folder}/a.png", f"{folder}/b.JPG")
    ]


@pytest.mark.parametrize("test", ["test", "test_images", "Test", "test_stg1", "images_test_rev1", "testing"])
def test_the_split_says_which_of_two_files_of_one_name_is_meant(draw, test):
    root = draw("train/1.jpg", "train/2.jpg", f"{test}/1.jpg", f"{test}/2.jpg")
    assert found(root, "train", "1", "2") == ["train/1.jpg", "train/2.jpg"]
    assert found(root, "test", "1", "2") == [f"{test}/1.jpg", f"{test}/2.jpg"]


def test_an_image_missing_in_its_own_folder_is_not_taken_from_another(draw):
    root = draw("train/1.jpg", "train/2.jpg", "test/1.jpg", "sample/2.jpg")
    assert "no image in" in refusal(root, "test", "1", "2") and not ImagesOnDisk([root]).has_all("test", ["1", "2"])


def test_validation_images_may_lie_in_the_folder_of_train(draw):
    root = draw("train/a.png", "train/b.png", "val/c.png", "test/a.png")
    assert found(root, "val", "b", "c") == ["train/b.png", "val/c.png"]


def test_images_of_all_splits_may_lie_together(draw):
    root = draw("images/Train_0.jpg", "images/Test_0.jpg")
    assert found(root, "train", "Train_0") == ["images/Train_0.jpg"]
    assert found(root, "test", "Test_0") == ["images/Test_0.jpg"]


def test_files_lie_in_any_of_several_roots(draw):
    table, unpacked = draw("train.csv", "test/b.png"), draw("train/a.png", root="place")
    images = ImagesOnDisk([table, unpacked])
    assert images.paths(TABLE, "train", ["a"]) == (unpacked / "train" / "a.png",)
    assert images.paths(TABLE, "test", ["b"]) == (table / "test" / "b.png",)


@pytest.mark.parametrize(
    ("image_id", "name"),
    [
        *(("A.JPG", "a.jpg"), ("a.jpg", "A.JPG"), ("a.png", "a.jpg"), ("a", "a.jpeg"), (" a.png ", "a.png")),
        *(("1.2.840.10", "1.2.840.10.dcm"), ("cat.0", "cat.0.jpg"), ("a.jpg", "a.jpg.png")),
        *(
            (r"7\8\a.png", "7/8/a.png"),
            ("./7/a.png", "7/a.png"),
            ("7/a", "7/a.tif"),
            ("images/7/a.png", "images/7/a.png"),
        ),
        *((unicodedata.normalize("NFC", "Käfer.png"), unicodedata.normalize("NFD", "Käfer.png")),),
        *(("7", "000007.png"), ("000007", "7.png"), ("7.png", "0007.png")),
        *(("猫_1.png", "猫_1.png".encode("gbk").decode("cp437")), ("Käfer", "K\u201efer.png")),
    ],
)
def test_an_id_is_found_however_it_is_spelled(draw, image_id, name):
    root = draw(f"train/{name}", "train/other.png")
    assert [path.casefold() for path in found(root, "train", image_id)] == [f"train/{name}".casefold()]


def test_the_file_spelled_exactly_like_the_id_is_taken(draw):
    root = draw("train/a.png", "train/A.png", "train/a.jpg")
    assert found(root, "train", "a.png", "A.png", "a.jpg") == ["train/a.png", "train/A.png", "train/a.jpg"]
    assert found(draw("x/train/b.png", "x/train/B.png"), "train", "b", "B") == ["x/train/b.png", "x/train/B.png"]


def test_several_files_of_one_id_are_named(draw):
    root = draw("train/a.png", "train/a.jpg", "train/b.png")
    assert "train.csv: several images in" in (message := refusal(root, "train", "a", "b"))
    assert "for 1 id: a (a.jpg a.png)" in message or "for 1 id: a (a.png a.jpg)" in message


@pytest.mark.parametrize("folders", [("train/cat", "train/dog"), ("cat", "dog"), ("train_cat", "train_dog")])
def test_the_same_name_in_the_folders_of_two_classes_is_no_guess(draw, folders):
    root = draw(*(f"{folder}/{number}.jpg" for folder in folders for number in (1, 2)))
    assert "several images" in refusal(root, "train", "1", "2")
    assert found(root, "train", f"{folders[1]}/1.jpg") == [f"{folders[1]}/1.jpg"]


def test_of_two_folders_of_a_split_the_one_with_all_ids_or_the_usual_name_is_meant(draw):
    root = draw("train_images/a.png", "train_images/b.png", "train_small/a.png", "train_small/b.png")
    assert found(root, "train", "a", "b") == ["train_images/a.png", "train_images/b.png"]
    root = draw("y/train-jpg/a.jpg", "y/train-tif/a.tif", "y/train-jpg/b.jpg", "y/train-tif/b.tif")
    assert found(root / "y", "train", "a", "b") == ["train-jpg/a.jpg", "train-jpg/b.jpg"]


def test_masks_and_thumbnails_of_the_same_name_are_not_taken_for_the_image(draw):
    root = draw("train/images/a.png", "train/masks/a.png", "train_masks/a.png", "thumbnails/a.png")
    assert found(root, "train", "a") == ["train/images/a.png"]


def test_a_class_may_be_called_a_mask(draw):
    root = draw("train/with_mask/a.png", "train/mask/b.png", "train/masks/c.png")
    assert [name for _, name in ImagesOnDisk([root]).files("train")] == ["mask/b.png", "with_mask/a.png"]


def test_files_of_a_kind_that_cannot_be_read_are_named(draw):
    message = refusal(draw("train/a.heic", "train/b.heic", "train.csv"), "train", "a", "b")
    assert "no image in" in message and "(nor can 2 .heic there be read)" in message


def test_absolute_paths_are_taken_by_their_end(draw):
    root = draw("train_images/cat/a.png", "train_images/dog/a.png")
    ids = [f"/kaggle/input/zoo/train_images/{name}/a.png" for name in ("cat", "dog")]
    assert found(root, "train", *ids) == ["train_images/cat/a.png", "train_images/dog/a.png"]
    assert found(root, "train", r"C:\data\cat\a.png") == ["train_images/cat/a.png"]
    assert "a way out of the competition's folder for 1 id: /etc/passwd" in refusal(
        root, "train", ids[0], "/etc/passwd"
    )


def test_what_stands_before_all_paths_is_left_out_but_not_the_name_of_another_class(draw):
    root = draw("dog/1.jpg", "dog/2.jpg")
    assert found(root, "train", "zoo/dog/1.jpg", "zoo/dog/2.jpg") == ["dog/1.jpg", "dog/2.jpg"]
    assert "no image in" in refusal(root, "train", "cat/1.jpg", "dog/1.jpg")


@pytest.mark.parametrize("image_id", ["../secret.png", "a/../../secret.png", "..\\secret.png", "/secret.png"])
def test_ids_that_leave_the_folder_are_refused(draw, image_id):
    draw("secret.png", root=".")
    assert "a way out of the competition's folder" in refusal(draw("train/a.png"), "train", image_id)


def test_linked_folders_are_followed_once_and_without_end(draw):
    root, other = draw("train/a.png"), draw("b.png", root="other")
    (root / "train" / "more").symlink_to(other)
    (root / "train" / "again").symlink_to(root / "train")
    (other / "back").symlink_to(root)
    assert found(root, "train", "a", "b") == ["train/a.png", "train/more/b.png"]


def test_hidden_files_and_folders_are_passed_over(draw):
    root = draw("train/a.png", "train/._a.png", "train/.ipynb_checkpoints/a.png", "__MACOSX/train/a.png")
    assert found(root, "train", "a") == ["train/a.png"]


def test_an_id_may_be_the_name_of_a_folder_of_images(draw):
    root = draw("train/00007/T2w/Image-10.dcm", "train/00007/T2w/Image-2.dcm", "train/00007/FLAIR/Image-1.dcm")
    draw("train/00008/FLAIR/Image-1.dcm", "test/00007/FLAIR/Image-1.dcm")
    images = ImagesOnDisk([root])
    assert images.has_folders("train", ["00007", "8"]) and not images.has_folders("train", ["00009"])
    seven, eight = images.several(TABLE, "train", ["00007", "8"])
    names = ["FLAIR/Image-1.dcm", "T2w/Image-2.dcm", "T2w/Image-10.dcm"]
    assert seven == tuple(root / "train/00007" / name for name in names)
    assert eight == (root / "train/00008/FLAIR/Image-1.dcm",)
    with pytest.raises(UserError, match=r"no folder of images in .*train for 1 id: 00009"):
        images.several(TABLE, "train", ["00007", "00009"])


def test_the_images_of_a_split_are_listed_by_folder_and_number(draw):
    root = draw("train/dog/10.jpg", "train/dog/2.jpg", "train/cat/1.jpg", "test/1.jpg", "train_masks/1.jpg")
    files = ImagesOnDisk([root]).files("train")
    assert [name for _, name in files] == ["cat/1.jpg", "dog/2.jpg", "dog/10.jpg"]
    assert files[0][0] == root / "train" / "cat" / "1.jpg"


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match="zoo: cannot be read"):
        ImagesOnDisk([tmp_path / "zoo"]).paths(TABLE, "train", ["a"])


def test_of_folders_of_copies_in_several_sizes_one_is_read(draw):
    root = draw(*(f"{split}_{size}x{size}/{split}.png" for split in ("train", "test") for size in (32, 64)))
    assert found(root, "train", "train") == ["train_64x64/train.png"]
    assert found(root, "test", "test") == ["test_64x64/test.png"]
    photos = draw(*(f"train/{size}p/a.jpg" for size in (100, 300, 720)), root="photos")
    assert found(photos, "train", "a") == ["train/300p/a.jpg"]


def test_folders_of_years_are_no_sizes(draw):
    assert "several images" in refusal(draw("train_2019/a.png", "train_2020/a.png"), "train", "a")


def test_a_holdout_belongs_to_the_test_images(draw):
    root = draw("train_images/1.jpg", "test_data/2.jpg", "holdout_data/3.jpg")
    assert found(root, "test", "2", "3") == ["test_data/2.jpg", "holdout_data/3.jpg"]
