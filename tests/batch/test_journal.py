"""One contract for every store, and what only a file can go through."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import pytest

from hitpaw_async import ItemState, JournalError
from hitpaw_async._core.itemstate import (
    Accepted,
    Completed,
    Intended,
    Item,
    Problem,
    Refused,
    Reserved,
    Skipped,
    advance,
)
from hitpaw_async.batch.journal import sqlite as _sqlite
from hitpaw_async.batch.journal.group_commit import Journal
from hitpaw_async.batch.journal.memory import MemoryStore
from hitpaw_async.batch.journal.opening import recover
from hitpaw_async.batch.journal.rows import COLUMNS, to_row
from hitpaw_async.batch.journal.sqlite import SqliteStore
from hitpaw_async.batch.journal.state_folder import state_folder
from hitpaw_async.batch.journal.store import Cursor, JobIdTakenError
from tests.batch.laboratory import video

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hitpaw_async.batch.journal.store import JournalStore


@pytest.fixture(params=["memory", "sqlite", "sqlite in WAL mode"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JournalStore]:
    monkeypatch.setattr(_sqlite, "has_wal_reset_bug", lambda _: "WAL" not in request.param)
    opened: JournalStore = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "journal.db")
    yield opened
    opened.close()


def item(name: str, *, priority: int = 0) -> Item:
    return Item(key=name, request=video(name, key=name, priority=priority), target=f"{name}.mp4", queued_at=1.5)


def added(store: JournalStore, *items: Item) -> None:
    with store.transaction():
        for each in items:
            store.add(each)


def put(store: JournalStore, *items: Item) -> None:
    with store.transaction():
        for each in items:
            store.put(each)


def accepted(before: Item, job_id: str) -> Item:
    return advance(advance(advance(before, Reserved(3)), Intended()), Accepted(job_id, 2.5))


def test_an_item_comes_back_as_it_was_put(store: JournalStore) -> None:
    first = item("a", priority=4)
    added(store, first)
    assert store.get("a") == first
    assert store.get("nobody") is None
    refused = advance(first, Refused(Problem("InvalidRequestError", "too long", 501016), 9.25))
    put(store, refused)
    assert store.get("a") == refused


def test_the_same_key_is_not_added_twice(store: JournalStore) -> None:
    added(store, item("a"))
    with pytest.raises(JournalError):
        added(store, attrs.evolve(item("a"), target="other.mp4"))
    assert store.books().count(*ItemState) == 1


def test_two_items_cannot_have_names_that_differ_in_case_only(store: JournalStore) -> None:
    added(store, item("a"))
    assert store.has_target("A.MP4")
    assert not store.has_target("b.mp4")
    with pytest.raises(JournalError):
        added(store, attrs.evolve(item("b"), target="A.mp4"))


def test_an_older_version_never_replaces_a_newer_one(store: JournalStore) -> None:
    old = item("a")
    new = accepted(old, "job")
    added(store, old)
    put(store, new)
    put(store, old)
    found = store.get("a")
    assert found is not None
    assert found.state is ItemState.SUBMITTED


def test_a_job_id_is_bound_to_one_item(store: JournalStore) -> None:
    first, second = item("a"), item("b")
    added(store, first, second)
    put(store, accepted(first, "job"))
    with pytest.raises(JobIdTakenError):
        put(store, accepted(second, "job"))
    found = store.find_job("job")
    assert found is not None
    assert found.key == "a"
    assert store.find_job("other") is None


def test_pages_follow_priority_then_age_and_visit_each_item_once(store: JournalStore) -> None:
    items = [item(f"{number}", priority=number % 3) for number in range(10)]
    added(store, *items)
    put(store, accepted(items[4], "job"))
    seen: list[str] = []
    cursor = Cursor()
    while rows := store.page((ItemState.QUEUED,), cursor, 2):
        cursor = rows[-1][0]
        seen += [row.key for _, row in rows]
        put(store, *(advance(row, Skipped(Problem("BudgetExceededError", "no"), 1.0)) for _, row in rows))
    assert seen == ["2", "5", "8", "1", "7", "0", "3", "6", "9"]


def test_pages_of_several_states_are_in_one_order(store: JournalStore) -> None:
    items = [item(f"{number}", priority=number % 3) for number in range(10)]
    added(store, *items)
    put(store, *(advance(items[number], Skipped(Problem("Other", "no"), 1.0)) for number in (0, 2, 7)))
    put(store, accepted(items[4], "job"))
    seen: list[str] = []
    cursor = Cursor()
    while rows := store.page((ItemState.SKIPPED, ItemState.QUEUED, ItemState.DONE), cursor, 2):
        cursor = rows[-1][0]
        seen += [row.key for _, row in rows]
    assert seen == ["2", "5", "8", "1", "7", "0", "3", "6", "9"]


def test_a_page_costs_the_same_however_many_items_wait(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "journal.db")
    steps: list[int] = []
    for number in range(6):
        added(store, *(item(f"{number}-{each}", priority=each % 2) for each in range(200)))
        steps.append(0)

        def count(at: int = number) -> int:
            steps[at] += 1
            return 0

        store._connection.set_progress_handler(count, 1)
        rows = store.page((ItemState.QUEUED, ItemState.SKIPPED), Cursor(0, 3), 10)
        store._connection.set_progress_handler(None, 0)
        assert len(rows) == 10
    store.close()
    assert max(steps) <= 1.1 * min(steps)


def test_the_books_add_up(store: JournalStore) -> None:
    items = [item(name) for name in "abc"]
    added(store, *items)
    sending = advance(advance(items[1], Reserved(7)), Intended())
    put(store, accepted(items[0], "job"), sending)
    books = store.books()
    assert (books.spent_credits, books.reserved_credits) == (3, 7)
    assert dict(books.counts) == {ItemState.SUBMITTED: 1, ItemState.SUBMITTING: 1, ItemState.QUEUED: 1}


def test_opening_finds_what_was_in_the_middle_of_a_send(store: JournalStore) -> None:
    items = [item(name) for name in "abc"]
    reserved = advance(items[2], Reserved(5))
    added(store, *items)
    put(store, advance(advance(items[1], Reserved(7)), Intended()), reserved)
    with store.transaction():
        run, books = recover(store, now=8.0)
    found = store.get("b")
    assert found is not None
    assert (run, found.run, found.state) == (1, 1, ItemState.UNCERTAIN)
    assert found.problem is not None
    assert books.reserved_credits == 7, "held for the uncertain one, given back for the one that was never sent"


def test_settings_are_kept(store: JournalStore) -> None:
    with store.transaction():
        store.set_setting("run", "1")
        store.set_setting("run", "2")
    assert store.setting("run") == "2"
    assert store.setting("other") is None


@pytest.mark.anyio
async def test_many_changes_at_once_go_into_few_transactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = 0
    transaction = SqliteStore.transaction

    def counted(store: SqliteStore) -> object:
        nonlocal commits
        commits += 1
        return transaction(store)

    monkeypatch.setattr(SqliteStore, "transaction", counted)
    store = await anyio.to_thread.run_sync(SqliteStore, tmp_path / "journal.db")
    journal = Journal(store)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(journal.serve)
        async with anyio.create_task_group() as callers:
            for number in range(500):
                callers.start_soon(journal.do, lambda store, number=number: store.add(item(str(number))))
        assert commits < 20
        books = await journal.do(lambda store: store.books())
        journal.close()
    assert books.count(ItemState.QUEUED) == 500


@pytest.mark.anyio
async def test_an_operation_that_finds_its_job_id_taken_harms_no_other(tmp_path: Path) -> None:
    store = await anyio.to_thread.run_sync(SqliteStore, tmp_path / "journal.db")
    journal = Journal(store)
    first, second = item("a"), item("b")
    refusals: list[JournalError] = []

    async def attempt(work: Callable[[JournalStore], None]) -> None:
        try:
            await journal.do(work)
        except JobIdTakenError as error:
            refusals.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(journal.serve)
        async with anyio.create_task_group() as callers:
            for each in (first, second):
                callers.start_soon(attempt, lambda store, each=each: store.add(each))
        async with anyio.create_task_group() as callers:
            for each in (first, second):
                callers.start_soon(attempt, lambda store, each=each: store.put(accepted(each, "job")))
        books = await journal.do(lambda store: store.books())
        journal.close()
    assert len(refusals) == 1
    assert books.count(ItemState.SUBMITTED) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"video_url": "https://videos.test/a.mp4?X-Signature=canary&"},
        {"video_url": "https://videos.test/a.mp4#canary"},
        {"video_url": "https://videos.test/a.mp4", "web_hook_url": "https://you.test/hook?token=canary"},
    ],
    ids=["a query", "a fragment", "a webhook's query"],
)
def test_a_signed_url_is_forgotten_once_it_is_no_longer_needed(tmp_path: Path, fields: dict[str, str]) -> None:
    path = tmp_path / "journal.db"
    store = SqliteStore(path)
    signed = attrs.evolve(item("a"), request=attrs.evolve(video("a", key="a"), **fields))
    added(store, signed)
    found = store.get("a")
    assert found is not None
    assert found.request == signed.request, "it may yet have to be sent"
    put(store, accepted(signed, "job"))
    store.close()
    assert not any(b"canary" in file.read_bytes() for file in tmp_path.iterdir())


def test_whatever_changes_of_an_item_is_kept(store: JournalStore) -> None:
    before = item("a")
    added(store, before)
    after = attrs.evolve(
        before,
        state=ItemState.FAILED,
        reserved_credits=1,
        charged_credits=2,
        written_off_credits=3,
        job_id="job",
        attempts=4,
        hook_digest="digest",
        resubmissions=5,
        problem=Problem("Kind", "text"),
        path="a.mp4",
        submitted_at=6.5,
        converting_at=7.5,
        completed_at=8.5,
        finished_at=9.5,
        run=10,
        version=11,
        minute_credits=12,
    )
    fixed = {"key", "request", "target", "queued_at"}
    changed = {field.name for field in attrs.fields(Item) if getattr(before, field.name) != getattr(after, field.name)}
    assert changed == {field.name for field in attrs.fields(Item)} - fixed
    put(store, after)
    assert store.get("a") == after


def test_the_journal_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    SqliteStore(path).close()
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_another_process_cannot_open_it_until_this_one_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            (
                "import pathlib, sys; from hitpaw_async.batch.journal.sqlite import SqliteStore;"
                "store = SqliteStore(pathlib.Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
            ),
            str(path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(JournalError, match="Another process"):
            SqliteStore(path)
        SqliteStore(path, is_readonly=True).close()
        holder.kill()
    SqliteStore(path).close()


def test_the_lock_survives_that_another_handle_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    store = SqliteStore(path)
    sqlite3.connect(path).close()
    path.open("rb").close()
    with pytest.raises(JournalError, match="Another process"):
        SqliteStore(path)
    store.close()


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()


def _newer(path: Path) -> None:
    SqliteStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()


def _text(path: Path) -> None:
    path.write_text("video_url\nhttps://videos.test/a.mp4\n" * 100)


def _torn(path: Path) -> None:
    store = SqliteStore(path)
    added(store, *(item(str(number)) for number in range(300)))
    store.close()
    content = bytearray(path.read_bytes())
    content[4096 * 5 : 4096 * 6] = b"\x5a" * 4096
    path.write_bytes(content)


def _damaged_row(path: Path) -> None:
    store = SqliteStore(path)
    added(store, item("a"))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE items SET request = '{'")
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_foreign, "another program"),
        (_newer, "newer hitpaw-async"),
        (_text, "not a database.*Name the file that a batch wrote"),
        (_torn, "damaged|could not be opened"),
        (_damaged_row, "row of 'a' is damaged"),
    ],
)
def test_a_file_that_is_not_a_sound_journal_is_refused_with_a_reason(
    tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "journal.db"
    spoil(path)
    with pytest.raises(JournalError, match=words):  # noqa: PT012 (some damage shows when rows are read)
        store = SqliteStore(path)
        try:
            store.page(tuple(ItemState), Cursor(), 1000)
        finally:
            store.close()


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="nowhere"):
        SqliteStore(tmp_path / "nowhere" / "journal.db")
    with pytest.raises(JournalError, match="There is no journal"):
        SqliteStore(tmp_path / "journal.db", is_readonly=True)


@pytest.mark.parametrize(
    ("version", "mode"), [((3, 40, 1), "truncate"), ((3, 51, 2), "truncate"), ((3, 51, 3), "wal"), ((3, 60, 0), "wal")]
)
def test_versions_with_the_wal_reset_bug_do_without_a_wal(version: tuple[int, int, int], mode: str) -> None:
    assert _sqlite.has_wal_reset_bug(version) is (mode == "truncate")


def test_every_commit_is_flushed(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "journal.db")
    (synchronous,) = store._connection.execute("PRAGMA synchronous").fetchone()
    (mode,) = store._connection.execute("PRAGMA journal_mode").fetchone()
    store.close()
    assert synchronous == 2, "FULL"
    assert mode == ("truncate" if _sqlite.has_wal_reset_bug(sqlite3.sqlite_version_info) else "wal")


def test_a_journal_whose_process_was_killed_in_a_commit_can_be_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    program = (
        "import os, pathlib, sys; from hitpaw_async.batch.journal import sqlite as _sqlite; "
        "from tests.batch.test_journal import item;"
        "_sqlite.has_wal_reset_bug = lambda _: True;"
        "store = _sqlite.SqliteStore(pathlib.Path(sys.argv[1]));"
        "store._connection.execute('PRAGMA cache_size = 1'); store._connection.execute('BEGIN IMMEDIATE');"
        "[store.add(item(str(number))) for number in range(500)];"
        "os._exit(9)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert ended.returncode == 9
    assert path.with_name("journal.db-journal").stat().st_size > 0, "a hot journal was left"
    store = SqliteStore(path, is_readonly=True)
    assert store.books().count(*ItemState) == 0
    store.close()


def _of_schema_1(path: Path) -> None:
    """A journal as the first version wrote it, with one item that is done."""
    with sqlite3.connect(path) as connection:
        connection.executescript(_sqlite._MIGRATIONS[0])
        connection.execute(f"PRAGMA application_id = {_sqlite.APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        values = dict(zip(COLUMNS, to_row(accepted(item("a"), "job-a")), strict=True))
        old = {name: value for name, value in values.items() if name not in _sqlite._COLUMNS_ADDED}
        marks = ", ".join("?" * len(old))
        connection.execute(f"INSERT INTO items ({', '.join(old)}) VALUES ({marks})", tuple(old.values()))
    connection.close()


def test_a_journal_of_an_older_version_can_be_looked_at_and_is_migrated_when_it_is_worked_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    _of_schema_1(path)
    before = path.read_bytes()

    looking = SqliteStore(path, is_readonly=True)
    seen = looking.get("a")
    looking.close()
    assert seen is not None
    assert (seen.job_id, seen.completed_at, seen.minute_credits) == ("job-a", None, None)
    assert path.read_bytes() == before

    store = SqliteStore(path)
    assert store.get("a") == seen
    put(store, advance(seen, Completed(9.5, 8.5)))
    store.close()
    looking = SqliteStore(path, is_readonly=True)
    kept = looking.get("a")
    looking.close()
    assert kept is not None
    assert (kept.converting_at, kept.completed_at) == (8.5, 9.5)


def _marked(path: Path, *names: str) -> None:
    """A journal that has been used and closed."""
    store = SqliteStore(path)
    added(store, *(item(name) for name in names))
    store.close()


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _removed(path: Path) -> None:
    path.unlink()


def _fresh(path: Path) -> None:
    other = path.with_name("other.db")
    SqliteStore(other).close()
    other.replace(path)


def _older_copy(path: Path) -> None:
    older = path.read_bytes()
    _marked(path, "later")
    path.write_bytes(older)


def _cut_off(path: Path) -> None:
    """Killed, so that the newest commits are in the -wal file alone; and that goes."""
    program = (
        "import os, pathlib, sys; from hitpaw_async.batch.journal import sqlite as _sqlite;"
        "from tests.batch.test_journal import added, item; _sqlite.has_wal_reset_bug = lambda _: False;"
        "store = _sqlite.SqliteStore(pathlib.Path(sys.argv[1])); added(store, item('later')); os._exit(9)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert ended.returncode == 9
    wal = path.with_name(f"{path.name}-wal")
    assert wal.stat().st_size
    wal.unlink()


@pytest.mark.parametrize(
    ("lose", "words"),
    [
        (_emptied, "is empty, and had"),
        (_removed, "is empty, and had"),
        (_fresh, "not the journal that stood here"),
        (_older_copy, "newest part is lost"),
        (_cut_off, "newest part is lost"),
    ],
)
def test_a_journal_that_has_lost_what_it_had_is_not_taken_for_a_new_one(
    tmp_path: Path, lose: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "journal.db"
    _marked(path, "a")
    lose(path)
    with pytest.raises(JournalError, match=words) as raised:
        SqliteStore(path)
    assert "remove " + str(tmp_path / "journal.db.lock") in str(raised.value)
    tmp_path.joinpath("journal.db.lock").unlink()
    for mark in state_folder("journals").iterdir():
        mark.unlink()
    SqliteStore(path).close()


def test_a_journal_that_is_moved_or_removed_with_its_lock_goes_on(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "journal.db", tmp_path / "moved.db"
    _marked(path, "a")
    path.rename(elsewhere)
    path.with_name("journal.db.lock").unlink()
    _marked(elsewhere, "b")
    store = SqliteStore(path)
    assert store.books().count(*ItemState) == 0
    store.close()


@pytest.mark.parametrize("content", [b"", b"\0" * 60, b"hitpaw-journal 1", b"\xff" * 60])
def test_a_lock_file_that_says_nothing_is_no_obstacle(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal.db"
    _marked(path, "a")
    path.with_name("journal.db.lock").write_bytes(content)
    _marked(path, "b")


def test_a_journal_from_before_marks_gets_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    _marked(path, "a")
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM settings")
    connection.close()
    path.with_name("journal.db.lock").write_bytes(b"")
    _marked(path, "b")
    _emptied(path)
    with pytest.raises(JournalError, match="is empty"):
        SqliteStore(path)


def test_a_mark_that_cannot_be_written_loses_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.db"
    store = SqliteStore(path)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_sqlite.FileLock, "write", fail)
        added(store, item("a"))
    store.close()
    _marked(path, "b")


def test_an_empty_file_is_no_journal_to_look_at(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.touch()
    with pytest.raises(JournalError, match="is empty"):
        SqliteStore(path, is_readonly=True)


def test_an_opening_that_fails_late_lets_go_of_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, room = tmp_path / "journal.db", tmp_path / "journal.db.room"
    room.mkdir()
    opened: list[sqlite3.Connection] = []

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        opened.append(sqlite3.Connection(*arguments, **options))
        return opened[-1]

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect)
        with pytest.raises(JournalError, match="could not be opened"):
            SqliteStore(path)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")
    room.rmdir()
    SqliteStore(path).close()


def test_the_empty_file_that_sqlite_leaves_without_a_wal_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite, "has_wal_reset_bug", lambda _: True)
    path = tmp_path / "journal.db"
    left, copied = tmp_path / "journal.db-journal", tmp_path / "copied.db"
    store = SqliteStore(path)
    added(store, item("a"))
    assert left.stat().st_size == 0, "what a kill between two commits leaves"
    copied.write_bytes(path.read_bytes())
    store.close()
    left.touch()
    copied.with_name("copied.db-journal").touch()
    for each in (path, copied):
        SqliteStore(each, is_readonly=True).close()
        store = SqliteStore(each)
        assert store.get("a") == item("a")
        store.close()
