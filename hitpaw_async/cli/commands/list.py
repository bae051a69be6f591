"""`hitpaw list`: the items of a journal, a line each, even while a batch runs on it."""

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from hitpaw_async._core.itemstate import Item
from hitpaw_async._format import counted, own_columns
from hitpaw_async._redact import excerpt, redact_url
from hitpaw_async.batch.journal.sqlite import SqliteStore
from hitpaw_async.batch.journal.store import PAGE_ITEMS, Cursor
from hitpaw_async.batch.outcomes import outcome_of
from hitpaw_async.cli.exit_codes import ExitCode, UsageError
from hitpaw_async.cli.inputs.flags import JOURNAL, JSON, switch
from hitpaw_async.cli.output import tables
from hitpaw_async.cli.output.json_lines import origin_fields, outcome_event, write_line
from hitpaw_async.cli.output.messages import command_on
from hitpaw_async.cli.settings.batch import checked_journal
from hitpaw_async.models import ItemState

__all__ = ["list_items"]

SHOWN_MAX: Final = 1000
"""Rows of a table for people; CSV and JSON have all of them."""
COLUMNS: Final = ("key", "row", "video_url", "state", "file", "credits", "job_id", "reason")
KEY_CHARS_SHOWN: Final = 12
"""Of a key in a table: enough to name it, for commands take how a key begins."""


def list_items(
    journal: Annotated[Path, JOURNAL],
    /,
    *,
    state: Annotated[tuple[str, ...], Parameter(help="Only those in this state, e.g. failed. May be repeated.")] = (),
    is_csv: Annotated[bool, switch("--csv", help="CSV on standard output, with the list's own columns.")] = False,
    is_json: Annotated[bool, JSON] = False,
) -> int:
    """List a batch's videos: where each stands, and why it is not done.

    A line has the source, the file, the credits, the reason and the key.
    """
    if is_json and is_csv:
        raise UsageError("Give one of --json and --csv.")
    journal, wanted = checked_journal(journal), _states_of(state)
    with closing(SqliteStore(journal, is_readonly=True)) as store:
        if is_json:
            for item in _items(store, wanted):
                write_line(_event(item))
        elif is_csv:
            _write_csv(store, wanted)
        else:
            _print_table(store, wanted, journal)
    return ExitCode.DONE


def _states_of(names: Sequence[str]) -> tuple[ItemState, ...]:
    """The states that are named, each once; all where none is.

    Raises:
        UsageError: There is no such state.
    """
    words = [word for name in names for word in name.lower().replace(",", " ").split()]
    known = {state.value: state for state in ItemState}
    unknown = [word for word in words if word not in known]
    if unknown:
        raise UsageError(f"There is no state {ascii(unknown[0])[:40]}. There are: {', '.join(known)}.")
    return tuple(dict.fromkeys(known[word] for word in words)) or tuple(ItemState)


def _items(store: SqliteStore, states: Sequence[ItemState]) -> Iterator[Item]:
    cursor = Cursor()
    while rows := store.page(states, cursor, PAGE_ITEMS):
        for _, item in rows:
            yield item
        cursor = rows[-1][0]


def _event(item: Item) -> dict[str, Any]:
    origin = origin_fields(item.request.metadata)
    return {**outcome_event(outcome_of(item)), **origin, "event": "item", "file": item.target}


def _cells(item: Item) -> dict[str, Any]:
    event = _event(item)
    error = event["error"]
    return {**event, "reason": None if error is None else error["message"]}


def _write_csv(store: SqliteStore, states: Sequence[ItemState]) -> None:
    """Write a header and a row an item; a person's own columns come last, whichever items have them."""
    own = dict.fromkeys(name for item in _items(store, states) for name in own_columns(item.request.metadata))
    # Names that a column of ours has get a mark, so that a spreadsheet keeps them apart.
    headings = {name: f"{name}*" if name in COLUMNS else name for name in own}
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*COLUMNS, *headings.values()])
    for item in _items(store, states):
        cells, columns = _cells(item), own_columns(item.request.metadata)
        writer.writerow([*(cells[name] for name in COLUMNS), *(columns.get(name, "") for name in own)])
    sys.stdout.flush()


def _print_table(store: SqliteStore, states: Sequence[ItemState], journal: Path) -> None:
    rows: list[list[str]] = []
    left_out = 0
    for item in _items(store, states):
        if len(rows) == SHOWN_MAX:
            left_out += 1
            continue
        cells = _cells(item)
        source = excerpt(redact_url(item.request.video_url))
        reason = "" if cells["reason"] is None else excerpt(cells["reason"], chars_max=120)
        spent = "" if cells["credits"] is None else str(cells["credits"])
        key = excerpt(item.key)
        shown_key = key if len(key) <= KEY_CHARS_SHOWN else key[:KEY_CHARS_SHOWN] + "…"
        rows.append([shown_key, item.state.value, tables.shortened(source), item.target or "", spent, reason])
    if not rows:
        print("There is none.")
        return
    headings = ["key", "state", "source", "file", "credits, at most", "reason"]
    tables.print_table(headings, rows, right=["credits, at most"], folded=["reason", "file"])
    if left_out:
        print(f"… and {counted(left_out, 'video')} more: --csv and --json list all of them.")
    if ItemState.FAILED in states and any(row[1] == ItemState.FAILED for row in rows):
        print(f"Ask for the failed jobs again, at no cost: {command_on('resume', journal, '--failed')}")
