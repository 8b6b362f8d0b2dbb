"""Pack the pipeline into one script that Kaggle runs as a kernel, and write the metadata to push it with.

python pipeline/bundle.py --competition NAME [--user NAME] [--output FILE] [any option of train.py]
"""

import argparse
import base64
import hashlib
import json
import lzma
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":  # run as a script: check the options before importing what follows
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pipeline import commands

    commands.bundle()

from competition import kaggle_client
from competition.storage import ROOT, atomic_write
from pipeline.models.recipe import choose_recipes, recipe_names

ROOMS = ("competition", "pipeline")
LEFT_OUT = ("competition/data/", "competition/stand_in/")
GPU = "NvidiaTeslaT4"  # Kaggle's other one, P100, is too old for its own image's torch
LONGEST_TITLE = 50

SCRIPT = '''\
"""An image-classification pipeline, packed into one script by its pipeline/bundle.py; edit that, not this.

version: {version}
runs:    python {command}
holds:   {count} files of {rooms}, packed at the end of this file
"""

import base64
import json
import lzma
import subprocess
import sys
import tempfile
from pathlib import Path

COMMAND = {arguments!r}


def main() -> int:
    files = json.loads(lzma.decompress(base64.b85decode("".join(PACKED.split()))))
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        return subprocess.run([sys.executable, *COMMAND], cwd=folder).returncode


PACKED = """
{packed}
"""

if status := main():
    sys.exit(status)
'''


def main(given: argparse.Namespace) -> None:
    given.user = given.user or kaggle_client.username()
    files = packed_files(ROOT)
    command = ["pipeline/kernel.py", "--competition", given.competition]
    command += ["--predict-only"] * given.predict_only + given.options
    text = script(files, command, version(ROOT, files))
    metadata = kernel_metadata(given, needs_gpu(given.models))
    target = given.output
    for path, content in ((target, text), (target.with_name("kernel-metadata.json"), json.dumps(metadata, indent=2))):
        with atomic_write(path) as temporary:
            temporary.write_text(f"{content.rstrip()}\n", encoding="utf-8", newline="")
    print(f"{target}: {len(files)} files, {len(text) / 1000:,.0f} kB, as the kernel {metadata['id']}")
    print(f"next: kaggle kernels push -p {shlex.quote(str(target.parent))}")
    print(f"then: python pipeline/submit.py --competition {given.competition} --kernel {metadata['id']}")


def needs_gpu(models: Sequence[str]) -> bool:
    """True where a network is among the recipes."""
    return any(recipe.is_network for recipe in choose_recipes(models or recipe_names()))


def packed_files(root: Path) -> dict[str, str]:
    """The text of every file that the pipeline consists of, by its path in the checkout, sorted."""
    paths = sorted(path for room in ROOMS for path in (root / room).rglob("*") if path.is_file())
    names = [path.relative_to(root).as_posix() for path in paths]
    return {name: (root / name).read_text(encoding="utf-8") for name in names if is_packed(name)}


def is_packed(name: str) -> bool:
    is_hidden = any(part.startswith((".", "__pycache__")) for part in name.split("/"))
    return not is_hidden and not name.startswith(LEFT_OUT)


def version(root: Path, files: dict[str, str]) -> str:
    """The commit where there is one, and the hash of the contents, which alone is sure to say what was packed."""
    contents = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:12]
    try:
        command = ["git", "-C", str(root), "rev-parse", "--show-prefix", "--short=12", "HEAD"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10)
        words = answer.stdout.split() if answer.returncode == 0 else []
    except (OSError, subprocess.TimeoutExpired):
        words = []
    is_own = len(words) == 1  # with a prefix, it is another repository that holds this folder
    return f"commit {words[0]}, contents {contents}" if is_own else f"contents {contents}"


def script(files: dict[str, str], command: list[str], version: str) -> str:
    """The kernel's source; the same files and command give the same bytes."""
    packed = base64.b85encode(lzma.compress(json.dumps(files, sort_keys=True).encode())).decode()
    return SCRIPT.format(
        version=version,
        command=shlex.join(command),
        count=len(files),
        rooms=" and ".join(f"{room}/" for room in ROOMS),
        arguments=command,
        packed="\n".join(textwrap.wrap(packed, 120, break_on_hyphens=False)),
    )


def kernel_metadata(given: argparse.Namespace, gpu: bool) -> dict[str, object]:
    """What ``kaggle kernels push`` reads; the title is such that the kernel's address follows from it."""
    title = kernel_title(given.competition, "predict" if given.predict_only else "pipeline")
    kernels = list(given.kernel_sources)
    if given.predict_only and not (kernels or given.dataset_sources):
        kernels = [f"{given.user}/{slug(kernel_title(given.competition, 'pipeline'))}"]
    return {
        "id": f"{given.user}/{slug(title)}",
        "title": title,
        "code_file": given.output.name,
        "language": "python",
        "kernel_type": "script",
        "is_private": True,
        "enable_gpu": gpu,
        "enable_tpu": False,
        "enable_internet": False,
        "machine_shape": GPU if gpu else "",
        "competition_sources": [given.competition],
        "dataset_sources": given.dataset_sources,
        "kernel_sources": kernels,
        "model_sources": given.model_sources,
    }


def kernel_title(competition: str, what: str) -> str:
    return f"{competition[: LONGEST_TITLE - len(what) - 1].rstrip('-')} {what}"


def slug(title: str) -> str:
    """How a title is spelled in an address."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
