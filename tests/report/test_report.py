"""The page as a file: complete, self-contained, without secrets, whatever is in the journal."""

from __future__ import annotations

import html.parser
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from hitpaw_async import ConfigurationError, ItemState, JournalError
from hitpaw_async._core.itemstate import Problem
from hitpaw_async._format import ROW_NAME
from hitpaw_async.cli import main
from hitpaw_async.report import _writing, write_report
from tests.report.journals import HOSTILE, a_done_item, a_library, an_item, write_journal

if TYPE_CHECKING:
    from pathlib import Path

    from hitpaw_async import ExportRequest

pytestmark = pytest.mark.anyio

PAGE_BYTES_MAX = 2_000_000


async def report_of(folder: Path, *items: Any, **options: Any) -> str:
    journal = await anyio.to_thread.run_sync(write_journal, folder / "j.db", items)
    target = folder / "report.html"
    await write_report(journal, target, **{"is_fetching": False, **options})
    return await anyio.Path(target).read_text()


class Reader(html.parser.HTMLParser):
    """What a page refers to and which elements it has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.attributes: set[str] = set()
        self.policy = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = dict(attrs)["content"] or ""
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


async def test_a_result_is_shown_beside_its_source(tmp_path: Path, sample: Path) -> None:
    local = a_done_item("film", path=str(sample))
    gone = a_done_item("gone", path=str(tmp_path / "gone.mp4"))

    def source(request: ExportRequest) -> Path | None:
        return sample if "film" in request.video_url else None

    page = await report_of(tmp_path, local, gone, local_source=source)

    assert page.count("data:image/jpeg;base64,") == 2
    assert 'aria-label="How much of film.mp4 is shown as it was before"' in page


@pytest.mark.parametrize(
    ("url", "is_fetching", "why"),
    [
        ("https://videos.example.com/a.mp4?sig=secret", True, "forgets what a signed URL is signed with"),
        ("https://videos.example.com/a.mp4", False, "Its source was not fetched."),
        ("http://127.0.0.1:9/a.mp4", True, "Its source could not be read."),
    ],
)
async def test_a_source_that_cannot_be_had_is_explained(
    tmp_path: Path, sample: Path, url: str, is_fetching: bool, why: str
) -> None:
    page = await report_of(tmp_path, a_done_item("a", url=url, path=str(sample)), is_fetching=is_fetching)

    assert page.count("data:image/jpeg;base64,") == 1
    assert why in page
    assert "secret" not in page


async def test_what_is_in_the_journal_is_text_in_the_page(tmp_path: Path) -> None:
    problem = Problem("JobFailedError", f"No. {HOSTILE}")
    page = await report_of(
        tmp_path,
        an_item(
            "a",
            ItemState.FAILED,
            url=f"https://a.example/{HOSTILE}.mp4?key=secret",
            problem=problem,
            metadata={HOSTILE: HOSTILE},
        ),
        note=HOSTILE,
    )

    assert "<script>alert" not in page
    assert "secret" not in page
    assert Reader(page).tags.count("script") == 1
    assert "{{ 7 * 7 }}" in page


async def test_a_persons_own_columns_stand_beside_the_videos(tmp_path: Path) -> None:
    mine = {"customer": "Ada", "shelf": "B 7", ROW_NAME: "12"}
    page = await report_of(tmp_path, a_done_item("a", metadata=mine), a_done_item("b", metadata={"customer": "Grace"}))

    assert "<th>customer</th><th>shelf</th></tr>" in page
    assert '<td class="why">Ada</td><td class="why">B 7</td></tr>' in page
    assert '<td class="why">Grace</td><td class="why"></td></tr>' in page
    assert ROW_NAME not in page


async def test_what_was_spent_is_shown_as_the_bound_that_it_is(tmp_path: Path) -> None:
    page = await report_of(tmp_path, a_done_item("a"))
    assert page.count("credits, at most") + page.count("credits spent, at most") == 2
    assert "at most 2 credits spent" in page


async def test_the_page_refers_to_nothing_but_itself(tmp_path: Path, sample: Path) -> None:
    page = await report_of(tmp_path, a_done_item("a", path=str(sample)), *a_library(50), local_source=lambda _: sample)

    read = Reader(page)
    assert all(reference.startswith("data:image/jpeg;base64,") for reference in read.references)
    assert read.policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in read.policy
    assert "style" not in read.attributes, "the policy would not allow it"
    assert not {name for name in read.attributes if name.startswith("on")}


@pytest.mark.slow
async def test_a_thousand_videos_stay_under_two_megabytes(tmp_path: Path, sample: Path) -> None:
    done = (a_done_item(f"film-{number}", path=str(sample)) for number in range(6))
    page = await report_of(tmp_path, *done, *a_library(994), local_source=lambda _: sample)

    assert len(page.encode()) < PAGE_BYTES_MAX
    assert page.count("data:image/jpeg;base64,") == 12


@pytest.mark.parametrize("items", [(), (an_item("a", ItemState.QUEUED),)])
async def test_a_journal_with_nothing_to_show_makes_a_page(tmp_path: Path, items: tuple[Any, ...]) -> None:
    page = await report_of(tmp_path, *items)

    assert "0 videos enhanced" in page
    assert "</html>" in page


async def test_only_a_report_is_replaced_by_a_report(tmp_path: Path) -> None:
    first = await report_of(tmp_path, an_item("a"))
    again = await write_report(tmp_path / "j.db", tmp_path / "report.html", is_fetching=False)
    assert again.page_bytes == pytest.approx(len(first), rel=0.05)

    other = anyio.Path(tmp_path / "mine.html")
    await other.write_text("<!doctype html> my own page")
    with pytest.raises(ConfigurationError, match="is not a report"):
        await write_report(tmp_path / "j.db", other)
    assert "my own page" in await other.read_text()


async def test_a_report_that_cannot_be_written_or_read_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    await report_of(tmp_path, an_item("a"))
    with pytest.raises(ConfigurationError, match="can't be written"):
        await write_report(tmp_path / "j.db", tmp_path / "nowhere" / "report.html")
    with pytest.raises(JournalError, match="There is no journal"):
        await write_report(tmp_path / "absent.db", tmp_path / "other.html")
    names = {path.name async for path in anyio.Path(tmp_path).iterdir()}
    assert {name for name in names if not name.startswith("j.db")} == {"report.html"}


async def test_without_pyav_there_are_figures_and_no_pictures(
    tmp_path: Path, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = _writing.find_spec
    monkeypatch.setattr(_writing, "find_spec", lambda name: None if name == "av" else real(name))

    page = await report_of(tmp_path, a_done_item("a", path=str(sample)))

    assert "1 video enhanced" in page
    assert "data:image" not in page


def test_the_command_writes_it_and_says_where(
    tmp_path: Path, sample: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_journal(tmp_path / "j.db", [a_done_item("bbb_360p_5s", path=str(sample))])
    monkeypatch.chdir(tmp_path)

    served = f"{sample.parent}=https://videos.example.com"
    assert main(["report", "j.db", "-o", "page.html", "--serve-from", served, "--offline"]) == 0

    assert capsys.readouterr().out.startswith("page.html: 1 video, ")
    assert (tmp_path / "page.html").read_text().count("data:image/jpeg;base64,") == 2


def test_without_jinja2_the_command_that_installs_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_journal(tmp_path / "j.db", [an_item("a")])
    monkeypatch.setattr(_writing, "find_spec", lambda _: None)

    assert main(["report", str(tmp_path / "j.db")]) == 2
    assert "pip install 'hitpaw-async[report]'" in capsys.readouterr().err
