"""The page in a real browser: the slider moves, nothing is fetched, nothing is complained about."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from hitpaw_async.report import write_report
from tests.report.browser import Browser, find_chromium
from tests.report.journals import a_done_item, a_library, write_journal

if TYPE_CHECKING:
    from collections.abc import Iterator

CHROMIUM = find_chromium()

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)")

SPLIT = "getComputedStyle(document.querySelector('.compare')).getPropertyValue('--split')"
CLIP = "getComputedStyle(document.querySelector('.compare .before')).clipPath"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    from hitpaw_async.simulator.clips import SAMPLE  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("report")
    first = (a_done_item(f"film-{number}", at=-100 + number, path=str(SAMPLE)) for number in range(2))
    journal = write_journal(folder / "j.db", [*first, *a_library(998)])
    target = folder / "report.html"

    async def write() -> None:
        await write_report(journal, target, budget=6000, local_source=lambda _: SAMPLE, is_fetching=False)

    anyio.run(write)
    return target.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Not pytest's folder: a profile has a socket, whose path must be short.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        assert CHROMIUM is not None
        with Browser(CHROMIUM, Path(profile)) as browser:
            yield browser


@pytest.fixture
def opened(browser: Browser, page: str) -> Browser:
    browser.emulate(width=1280, height=900)
    browser.open(page)
    return browser


def test_the_slider_moves_by_keyboard_and_by_mouse(opened: Browser) -> None:
    assert opened.value(SPLIT) == "50%"
    before = opened.value(CLIP)

    opened.press("Tab")
    assert opened.value("document.activeElement.type") == "range"
    opened.press("ArrowRight", times=5)
    assert opened.value(SPLIT) == "55%"
    assert opened.value(CLIP) != before

    box = opened.value(
        "(r => [r.x, r.y, r.width, r.height])(document.querySelector('.compare').getBoundingClientRect())"
    )
    left, top, width, height = box
    opened.drag((left + width * 0.55, top + height / 2), (left + width * 0.2, top + height / 2))
    assert float(opened.value(SPLIT).removesuffix("%")) == pytest.approx(20, abs=2)


def test_nothing_is_fetched_and_nothing_is_complained_about(opened: Browser, page: str) -> None:
    opened.press("Tab")
    opened.press("ArrowLeft")

    assert opened.requests[0] == page
    assert all(address.startswith("data:image/jpeg;") for address in opened.requests[1:])
    assert opened.complaints == []
    assert opened.value("[...document.images].every(image => image.naturalWidth > 0)") is True


def test_the_policy_stops_what_is_not_the_pages_own(opened: Browser) -> None:
    opened.value("document.body.insertAdjacentHTML('beforeend', '<img src=\"http://127.0.0.1:9/x.png\">')")
    opened.value("document.body.append(Object.assign(document.createElement('script'), {text: 'window.hacked = 1'}))")

    assert opened.value("window.hacked") is None
    assert any("Content Security Policy" in complaint for complaint in opened.complaints)


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_a_phone_needs_no_scrolling_sideways(opened: Browser, width: int) -> None:
    opened.emulate(width=width, height=844)
    assert opened.value("document.documentElement.scrollWidth") == width


def test_dark_is_dark_and_light_is_light(opened: Browser) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    assert opened.value(background) == "rgb(255, 255, 255)"
    opened.emulate(width=1280, height=900, is_dark=True)
    assert opened.value(background) == "rgb(20, 23, 27)"
