"""From a journal to a report on disk: read, take pictures, render, and put it in its place whole."""

from __future__ import annotations

import datetime
import heapq
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio.to_thread
import attrs

from hitpaw_async._format import own_version
from hitpaw_async.batch.journal.sqlite import SqliteStore
from hitpaw_async.batch.journal.store import PAGE_ITEMS, Cursor
from hitpaw_async.errors import ConfigurationError, MissingExtraError
from hitpaw_async.models import ExportRequest, ItemState
from hitpaw_async.report._figures import figures_of, video_of
from hitpaw_async.report._page import MARK, Page
from hitpaw_async.report._pairs import TRIED_MAX, take_pairs

if TYPE_CHECKING:
    from hitpaw_async._core.itemstate import Item
    from hitpaw_async.report._figures import Video

__all__ = ["ReportSummary", "write_report"]

PAIRS_MAX: Final = 6
PREFIX_MAX: Final = 60


@attrs.frozen(kw_only=True)
class ReportSummary:
    """Summary of a written report."""

    path: Path
    videos: int
    pairs: int
    """Number of results it shows."""
    page_bytes: int


@attrs.frozen
class _Read:
    videos: list[Video]
    first_done: list[Item]
    """Those whose pictures may be taken: none without PyAV."""
    version: str


async def write_report(
    journal: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    budget: int | None = None,
    pairs_max: int = PAIRS_MAX,
    local_source: Callable[[ExportRequest], Path | None] = lambda _: None,
    is_fetching: bool = True,
    note: str = "",
    clock: Callable[[], float] = time.time,
) -> ReportSummary:
    """Write a batch's report: one HTML file that needs nothing else. The batch may still be running.

    Args:
        journal: The batch's SQLite journal.
        target: The file to write. A report that is there is replaced; any other file is left alone.
        budget: The batch's budget in credits, to be shown.
        pairs_max: How many results are shown before and after. Without the extra `media` there are none.
        local_source: Path of a request's source on this machine; None: it is fetched from its URL.
        is_fetching: True if sources may be fetched at all.
        note: A sentence under the pictures, e.g. whose they are.
        clock: Seconds since the epoch.

    Returns:
        What it was made of.

    Raises:
        JournalError: The journal can't be read.
        ConfigurationError: The report can't be written there.
        MissingExtraError: jinja2 is not installed.
    """
    target = Path(target)
    read = await anyio.to_thread.run_sync(_read, Path(journal), target, TRIED_MAX * pairs_max)
    pairs = await take_pairs(read.first_done, pairs_max=pairs_max, local_source=local_source, is_fetching=is_fetching)
    page = Page(
        figures=figures_of(read.videos),
        pairs=pairs,
        journal_name=Path(journal).name,
        version=read.version,
        made_at=datetime.datetime.fromtimestamp(clock(), datetime.UTC),
        budget=budget,
        note=note,
    )
    page_bytes = await anyio.to_thread.run_sync(_render_to, page, target)
    return ReportSummary(path=target, videos=len(read.videos), pairs=len(pairs), page_bytes=page_bytes)


def _read(journal: Path, target: Path, first_count: int) -> _Read:
    """All items as the report shows them, and those that were done first; once it is sure that a report can be made."""
    if find_spec("jinja2") is None:
        raise MissingExtraError("A report", "report")
    _require_replaceable(target)
    with closing(SqliteStore(journal, is_readonly=True)) as store:
        videos: list[Video] = []

        def done() -> Iterator[Item]:
            for item in _items(store):
                videos.append(video_of(item))
                if item.state is ItemState.DONE:
                    yield item

        first = heapq.nsmallest(first_count, done(), key=lambda item: (item.finished_at or 0.0, item.key))
        return _Read(videos, first if find_spec("av") is not None else [], own_version())


def _items(store: SqliteStore) -> Iterator[Item]:
    cursor = Cursor()
    while rows := store.page(tuple(ItemState), cursor, PAGE_ITEMS):
        yield from (item for _, item in rows)
        cursor = rows[-1][0]


def _require_replaceable(target: Path) -> None:
    try:
        with target.open("rb") as file:
            is_report = MARK.encode() in file.read(200)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(target, error) from None
    if not is_report:
        raise ConfigurationError(f"{target} already exists and is not a report. Name another file with -o.")


def _render_to(page: Page, target: Path) -> int:
    text = page.render().encode()
    try:
        # A name that nobody can know beforehand, and that must be new: no link that lies there is followed.
        part = target.with_name(f".{target.name[:PREFIX_MAX]}.{secrets.token_hex(8)}.part")
        try:
            with part.open("xb") as file:
                file.write(text)
            part.replace(target)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
    except OSError as error:
        raise _unwritable(target, error) from None
    return len(text)


def _unwritable(target: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"The report {target} can't be written: {error.strerror}. Name another file with -o.")
