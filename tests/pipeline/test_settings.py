"""Settings: what a command line means, and how wrong ones are answered."""

import pytest

from competition import storage
from competition.errors import UserError
from competition.storage import KAGGLE_WORKING, ROOT
from pipeline.command_lines import predict_settings, submit_options, train_settings, tune_settings
from pipeline.settings import DEFAULT_BUDGET, TRIALS, TUNING_BUDGET


def test_without_any_option_no_models_are_named_and_five_minutes_are_given():
    settings = train_settings([])
    assert (settings.competition, settings.models, settings.seed) == (None, (), 0)
    assert settings.budget == DEFAULT_BUDGET == 300
    assert settings.epochs is settings.plan is settings.folds is None


def test_every_option_of_train_is_heard(tmp_path):
    line = (
        f"--competition cars --data {tmp_path} --models sprint dhc-* --epochs 3 --limit 500 --folds 5 --size 48 "
        f"--seed 7 --device cpu --work {tmp_path} --fresh --skip-unreadable --image-column file --label-column make "
        "--compile"
    )
    settings = train_settings(line.split())
    assert settings.competition == "cars" and settings.data == tmp_path and settings.work == tmp_path
    assert settings.models == ("sprint", "dhc-*")
    assert (settings.epochs, settings.limit, settings.folds, settings.size, settings.seed) == (3, 500, 5, 48, 7)
    assert settings.fresh and settings.skip_unreadable and settings.compile
    assert (settings.image_column, settings.label_column, settings.device) == ("file", "make", "cpu")


@pytest.mark.parametrize(
    ("parse", "line"), [(train_settings, []), (predict_settings, []), (tune_settings, ["--model", "sprint"])]
)
def test_the_metric_asked_for_reaches_the_competition(parse, line):
    assert parse(line).source["metric"] is None
    assert parse([*line, "--metric", "log-loss"]).source["metric"] == "log-loss"


def test_tuning_takes_twenty_trials_of_one_recipe_and_half_an_hour():
    settings = tune_settings(["--model", "sprint"])
    assert (settings.models, settings.name, settings.storage) == (("sprint",), None, None)
    assert (settings.trials, settings.budget) == (TRIALS, TUNING_BUDGET) == (20, 1800)


def test_every_option_of_tune_is_heard(tmp_path):
    line = (
        f"--competition cars --data {tmp_path} --model sprint --name fast --trials 50 --storage sqlite:///x.db "
        f"--epochs 3 --limit 500 --size 48 --seed 7 --device cpu --work {tmp_path} --weights {tmp_path} "
        "--skip-unreadable"
    )
    settings = tune_settings(line.split())
    assert (settings.models, settings.name, settings.trials) == (("sprint",), "fast", 50)
    assert (settings.storage, settings.epochs, settings.budget) == ("sqlite:///x.db", 3, None)
    assert (settings.limit, settings.size, settings.seed, settings.device) == (500, 48, 7, "cpu")
    assert settings.skip_unreadable and settings.weights == tmp_path


def test_tuning_without_a_budget_leaves_every_trial_the_epochs_of_its_recipe():
    settings = tune_settings(["--model", "sprint", "--budget", "none"])
    assert settings.budget is settings.epochs is None


def test_predict_averages_over_views_unless_told_otherwise():
    assert predict_settings([]).test_time_views
    assert not predict_settings(["--no-tta"]).test_time_views
    assert predict_settings([]).models == ()
    assert predict_settings(["--models", "sprint"]).models == ("sprint",)


def test_everything_lies_below_the_work_folder(tmp_path):
    settings = train_settings(["--work", str(tmp_path)])
    assert settings.runs_folder("cars") == tmp_path / "runs" / "cars"
    assert settings.submissions_folder("cars") == tmp_path / "submissions" / "cars"
    assert settings.data_folder == tmp_path / "competition" / "data"
    assert settings.data_folder in settings.cache_folder.parents


@pytest.mark.skipif(KAGGLE_WORKING.is_dir(), reason="this is a Kaggle notebook")
def test_without_a_work_folder_the_checkout_is_it():
    assert train_settings([]).work == ROOT
    assert (ROOT / "pipeline" / "settings.py").is_file()


def test_what_is_installed_works_in_the_current_folder_and_on_kaggle_where_output_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "ROOT", tmp_path / "site-packages")
    monkeypatch.setattr(storage, "KAGGLE_WORKING", tmp_path / "working")
    monkeypatch.chdir(tmp_path)
    assert train_settings([]).work == tmp_path
    (tmp_path / "working").mkdir()
    assert train_settings([]).work == tmp_path / "working"


def test_a_relative_work_folder_is_seen_from_where_the_command_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train_settings(["--work", "out"]).work == tmp_path / "out"


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("5m", 300), ("1h", 3600), ("1.5h", 5400), ("none", None)])
def test_a_budget_is_a_time(text, seconds):
    assert train_settings(["--budget", text]).budget == seconds


@pytest.mark.parametrize("text", ["0", "0m", "5 m", "5x", "m", "-5m", "1e3", "inf", "nan", ""])
def test_a_budget_that_is_no_time_is_refused_with_examples(text):
    with pytest.raises(UserError, match=r"--budget: .*90s, 5m, 1h or none"):
        train_settings([f"--budget={text}"])


def test_a_budget_of_more_than_a_year_is_refused():
    with pytest.raises(UserError, match="--budget: 99999h is longer than a year; write none for no limit"):
        train_settings(["--budget", "99999h"])


def test_an_empty_work_folder_is_refused():
    with pytest.raises(UserError, match="--work: the path is empty; give a folder"):
        train_settings(["--work", ""])


@pytest.mark.parametrize("text", ["10", "1.5"])
def test_a_budget_without_a_unit_is_refused_with_both_meanings(text):
    with pytest.raises(UserError, match=f"--budget: {text}: seconds or minutes\\? write {text}s or {text}m"):
        train_settings(["--budget", text])


def test_quiet_is_an_option_of_the_commands_that_take_long():
    for parse, line in ((train_settings, []), (predict_settings, []), (tune_settings, ["--model", "sprint"])):
        assert parse([*line, "--quiet"]).quiet and not parse(line).quiet


@pytest.mark.parametrize("length", [["--epochs", "2"], ["--plan", __file__]])
def test_epochs_and_a_plan_replace_the_budget(length):
    assert train_settings(length).budget is None


@pytest.mark.parametrize(
    "both",
    [
        ["--budget", "5m", "--epochs", "3"],
        ["--plan", __file__, "--budget", "5m"],
        ["--epochs", "3", "--plan", __file__],
    ],
)
def test_only_one_of_budget_epochs_and_plan_says_how_long(both):
    with pytest.raises(UserError, match=f"{both[2]}: not allowed with argument {both[0]}"):
        train_settings(both)


@pytest.mark.parametrize(
    ("typo", "nearest"),
    [("--buget", "--budget"), ("--epoch", "--epochs"), ("--mdoels", "--models"), ("--sead=3", "--seed")],
)
def test_a_typo_is_answered_with_the_nearest_option(typo, nearest):
    with pytest.raises(UserError, match=f"unknown option {typo.split('=')[0]}; did you mean {nearest}\\?"):
        train_settings([typo])


def test_an_option_like_no_other_is_answered_with_help():
    with pytest.raises(UserError, match="unknown option --qqq; --help lists them all"):
        predict_settings(["--qqq"])


def test_an_option_of_the_other_command_is_unknown():
    with pytest.raises(UserError, match="unknown option --budget"):
        predict_settings(["--budget", "5m"])
    with pytest.raises(UserError, match="unknown option --seed; it is an option of train"):
        submit_options(["--seed", "5"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--folds", "0"], "--folds: '0' is not a whole number from 1 to"),
        (["--folds", "9" * 5000], "--folds: '99999999999999999999' is not a whole number from 1 to"),
        (["--epochs", "2.5"], "--epochs: '2.5' is not a whole number from 1 to"),
        (["--epochs", "0"], "--epochs: '0' is not a whole number from 1 to"),
        (["--epochs", "1000000000000"], "--epochs: '1000000000000' is not a whole number"),
        (["--limit", "-3"], "--limit"),
        (["--limit", "10000000000"], "--limit"),
        (["--size", "big"], "--size: 'big' is not a whole number from 1 to 10000"),
        (["--size", "65536"], "--size: '65536' is not a whole number from 1 to 10000"),
        (["--seed", "x"], "--seed"),
        (["--seed", "-1"], "--seed"),
        *((["--seed", str(2**bits)], f"--seed: '{2**bits}' is not a whole number from 0") for bits in (31, 32, 63, 64)),
        (["--seed", "1", "--seed=2"], "--seed was given twice: 1 and 2; give it once"),
        (["--seed", "0", "--seed", "0"], "--seed was given twice"),
        (["--budget", "5m", "--budget", "10m"], "--budget was given twice: 300s and 600s; give it once"),
        (["--work", "here", "--work", "there"], "--work was given twice: here and there"),
        (["--device", "tpu"], "--device: .*'tpu'"),
        (["--data", "/no/such/folder"], "--data: /no/such/folder does not exist"),
        (["--plan", "/no/such/plan.json"], "--plan: /no/such/plan.json does not exist"),
        (["--models"], "--models"),
        (["cars.zip"], "cars.zip"),
        (["--work", __file__], "--work: .*is a file; give a folder"),
        (["--competition", "my", "contest"], "unknown option contest; quote a path that has blanks in it"),
        (["--batch-size", "32"], "unknown option --batch-size; a recipe sets that: docs/RECIPES.md"),
        (["--lr=0.1"], "unknown option --lr; a recipe sets that"),
        (["--budget", "-5m"], "--budget: expected one argument; give a value after it, which does not begin with a"),
        (["--group-column", "groups.csv"], "--group-column: groups.csv is not there; give a CSV with the columns"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_naming_the_option(arguments, words):
    with pytest.raises(UserError, match=words) as refusal:
        train_settings(arguments)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("parse", [train_settings, predict_settings])
def test_models_that_are_named_in_two_places_add_up(parse):
    assert parse(["--models", "sprint", "--device", "cpu", "--models", "dhc-*", "mine.toml"]).models == (
        "sprint",
        "dhc-*",
        "mine.toml",
    )


def test_a_switch_may_be_given_twice():
    assert train_settings(["--fresh", "--fresh"]).fresh


@pytest.mark.parametrize("also", ["--models sprint", "--limit 5", "--folds 3", "--size 32", "--seed 0"])
def test_what_a_plan_sets_is_not_given_beside_it(also):
    with pytest.raises(UserError, match=f"{also.split()[0]}: not allowed with argument --plan, which sets it"):
        train_settings(["--plan", __file__, *also.split()])


@pytest.mark.parametrize("option", ["--work", "--data", "--weights"])
def test_a_home_folder_that_is_not_known_is_said_in_one_line(option):
    with pytest.raises(UserError, match="~nobody-of-that-name/x: the home folder is not known here"):
        train_settings([option, "~nobody-of-that-name/x"])


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as leaving:
        train_settings(["--help"])
    assert leaving.value.code == 0
    shown = capsys.readouterr().out
    for option in ("--competition", "--budget", "--epochs", "--plan", "--folds", "--seed", "--work", "--debug"):
        assert option in shown


def test_a_refit_cannot_learn_from_the_lessons_of_a_split():
    for option in ("--pseudo-labels", "--distil"):
        with pytest.raises(UserError, match="argument --refit: not allowed with --pseudo-labels or --distil"):
            train_settings(["--refit", option])
