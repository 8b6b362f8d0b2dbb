"""Contests of five forms as bundled kernels, with the real client and the stand-in for Kaggle's server."""

import pytest

from competition.rehearsal import draw_rehearsal
from competition.stand_in.board import Hosted
from competition.stand_in.server import StandIn
from tests.commands import succeed
from tests.stand_in import client_environment, kaggle

pytestmark = pytest.mark.slow


@pytest.fixture(params=["probabilities", "lists", "numbers", "folders", "targets"])
def server(request, tmp_path, monkeypatch):
    """The stand-in with the rehearsal drawn in a form."""
    form = request.param
    folder, answers = tmp_path / "hosted" / form, tmp_path / "hosted" / "answers" / f"{form}.csv"
    draw_rehearsal(folder, answers, 240, form=form)
    with StandIn(Hosted(form, folder, answers), tmp_path / "state") as server:
        for name, value in client_environment(server, tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        yield server
        assert list(server.refused) == []


def test_a_bundled_kernel_gets_a_score(server, tmp_path):
    if problem := server.kernels.sandbox.problem:
        pytest.skip(f"no kernel can be run on this machine: {problem}")
    form = server.board.hosted.slug
    push = tmp_path / "push"
    quick = ("--models", "dhc-gaussian-nb", "--epochs", "1")
    succeed("bundle", "--competition", form, "--output", push / "kernel.py", *quick)
    pushed = kaggle(client_environment(server, tmp_path / "home"), "kernels", "push", "-p", push, cwd=tmp_path)
    assert "successfully pushed" in pushed.stdout
    options = ("--competition", form, "--work", tmp_path / "work")
    said = succeed("submit", *options, "--kernel", f"rehearser/{form}-pipeline")
    assert "public score" in said
    assert (tmp_path / "work" / "submissions" / "ledger.csv").is_file()
