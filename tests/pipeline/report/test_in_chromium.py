"""The report in a real browser: what it loads, whom it serves, and how it prints."""

from collections.abc import Iterator

import pytest

from tests.chromium import Chromium, running_chromium


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with running_chromium() as browser:
        yield browser


def test_the_page_opens_from_a_file_and_asks_for_nothing_else(chromium, page):
    with chromium.open(page) as opened:
        assert opened.page.title() == "odd: report on the submission"
        assert (opened.requests, opened.console) == ([], [])


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_axe_finds_no_fault(chromium, page, width, scheme):
    with chromium.open(page, width, scheme) as opened:
        opened.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert opened.faults() == []


def test_on_a_phone_only_tables_scroll_sideways(chromium, page):
    with chromium.open(page, 390) as opened:
        assert opened.page.evaluate("document.documentElement.scrollWidth") == 390


def test_dark_and_light_are_those_of_the_system_and_paper_is_white(chromium, page):
    brightness = "Number(getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0])"
    with chromium.open(page, scheme="light") as opened:
        assert opened.page.evaluate(brightness) > 200
    with chromium.open(page, scheme="dark") as opened:
        assert opened.page.evaluate(brightness) < 50
        opened.page.emulate_media(media="print")
        assert opened.page.evaluate(brightness) == 255


def test_the_first_key_leads_past_the_contents(chromium, page):
    with chromium.open(page) as opened:
        opened.page.keyboard.press("Tab")
        assert opened.page.evaluate("document.activeElement.textContent") == "Skip to the content"
        opened.page.keyboard.press("Enter")
        assert opened.page.url.endswith("#summary")


def test_paper_shows_what_is_folded_on_the_screen(chromium, page):
    folded = "[...document.querySelectorAll('details img')].map(each => each.checkVisibility())"
    with chromium.open(page) as opened:
        shown = opened.page.evaluate(
            folded.replace("checkVisibility()", "checkVisibility({contentVisibilityAuto: true})")
        )
        assert shown and not any(shown)
        opened.page.emulate_media(media="print")
        assert all(
            opened.page.evaluate(
                "[...document.querySelectorAll('details img')].map(e => e.getBoundingClientRect().height > 100)"
            )
        )


def test_the_page_prints(chromium, page, tmp_path):
    with chromium.open(page) as opened:
        printed = opened.page.pdf(path=tmp_path / "page.pdf", format="A4")
    assert printed.startswith(b"%PDF") and printed.count(b"/Type /Page\n") >= 3
