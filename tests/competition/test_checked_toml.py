"""TOML files are checked: a typo is refused in one line that names the file, the key and the nearest name."""

from pathlib import Path
from typing import Literal

import pytest

from competition.checked_toml import CheckedModel, read_checked_toml
from competition.errors import UserError


class Wheel(CheckedModel):
    size: int


class Car(CheckedModel):
    colour: Literal["red", "green"]
    doors: Literal["few", "many"] | int = 4
    spare: Wheel | None = None
    wheels: tuple[Wheel, ...] = ()


def put(folder: Path, text: str) -> Path:
    path = folder / "car.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_checked_toml(path, Car)
    message = str(caught.value)
    assert message.isprintable()
    return message


def test_a_right_file_gives_the_model_with_its_defaults(tmp_path):
    car = read_checked_toml(put(tmp_path, 'colour = "red"\nwheels = [{ size = 3 }]'), Car)
    assert car == Car(colour="red", doors=4, spare=None, wheels=(Wheel(size=3),))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('color = "red"', "color: no such key (did you mean 'colour'?); fix that key"),
        ('colour = "red"\nqqq = 1', "qqq: no such key; fix that key"),
        ('colour = "red"\nspare = { sise = 3, size = 3 }', "spare.sise: no such key (did you mean 'size'?); fix"),
        (
            'colour = "red"\nwheels = [{ size = 3 }, { sizes = 3 }]',
            "wheels.1.sizes: no such key (did you mean 'size'?)",
        ),
        ('colour = "read"', "colour: Input should be 'red' or 'green' (did you mean 'red'?); fix that key"),
        ("colour = 3", "colour: Input should be 'red' or 'green'; fix that key"),
        ('colour = "red"\ndoors = "mani"', "doors: Input should be 'few' or 'many' (did you mean 'many'?); fix"),
        ("doors = 2", "colour: Field required; fix that key"),
        ('colour = "red"\nspare = { size = "big" }', "spare.size: Input should be a valid integer"),
        ('colour = "red"\n"new\\nline" = 1', "new\\nline: no such key; fix that key"),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_the_nearest_name(tmp_path, text, words):
    path = put(tmp_path, text)
    assert refusal(path).startswith(f"{path}: {words}")


@pytest.mark.parametrize("content", [b"colour = = 3", b'colour = "\xff"', b"[spare\nsize = 3"])
def test_what_is_not_toml_is_refused_naming_the_file(tmp_path, content):
    path = tmp_path / "car.toml"
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path}: cannot be read as TOML")


def test_a_missing_file_is_refused_naming_it(tmp_path):
    assert f"{tmp_path / 'gone.toml'}: no such file" in refusal(tmp_path / "gone.toml")
