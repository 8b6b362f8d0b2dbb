"""Look for what is wrong with a competition's images and labels, print it, and write it to runs/NAME/audit/.

python pipeline/audit.py [--competition NAME|FOLDER|ZIP] ...
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script: check the options before importing what follows
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from pipeline import commands

    commands.audit()

from competition.console import print_result
from competition.errors import UserError
from competition.spec import Competition
from pipeline.data.cache import open_cache
from pipeline.data.fitting import Fit, Size
from pipeline.data.training_data import image_sizes, labelled_images
from pipeline.findings.audit import audited
from pipeline.findings.finding import FOLDER, Finding
from pipeline.findings.pictures import Pictures
from pipeline.models.networks.pretrained import imagenet_networks
from pipeline.runtime.devices import choose_device
from pipeline.settings import Settings
from pipeline.training.asked import asked_recipes
from pipeline.training.opening import read_competition
from pipeline.training.runs import newest_run, run_folders, stored_runs


def main(settings: Settings) -> Path:
    """Returns the folder of the findings."""
    competition = read_competition(settings)
    size, fit = shape_of_images(competition, settings)
    labelled, test = (
        open_cache(paths, settings.cache_folder, size, fit=fit, most=settings.cache_size)
        for paths in (labelled_images(competition).paths, competition.test.paths)
    )
    folder = settings.runs_folder(competition.name) / FOLDER
    pictures = Pictures.labelled(competition, labelled), Pictures.test(competition, test)
    print_result(summary(audited(competition, *pictures, folder)))
    print_result(folder)
    return folder


def shape_of_images(competition: Competition, settings: Settings) -> tuple[Size, Fit]:
    """The size and the fit of the newest model's images, which may be cached; without a model, those for train.py."""
    if settings.size is None:
        try:
            runs, _ = stored_runs(run_folders(settings.runs_folder(competition.name)), check_models=False)
            return newest_run(stored.run for stored in runs.values()).shape
        except (UserError, ValueError):
            pass
    device = choose_device(settings.device)
    pretrained = any(map(imagenet_networks, asked_recipes(settings, device)))
    sizes = image_sizes(competition, settings, device.type, pretrained)
    return sizes.cached, sizes.fit


def summary(findings: list[Finding]) -> str:
    """A line for each finding: its kind, the rows of its table, and what is told of it."""
    found = [each for each in findings if len(each.table)]
    if not found:
        return "nothing was found"
    width = max(len(each.kind) for each in found)
    return "\n".join(f"{each.kind:<{width}} {len(each.table):>9,}  {each.told or 'for information'}" for each in found)
