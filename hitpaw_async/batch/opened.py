"""What a batch has only while it is open, as one value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import attrs

from hitpaw_async.batch.webhooks import Hints

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from hitpaw_async.batch.books import Bookkeeper
    from hitpaw_async.batch.file_names import NamesTaken
    from hitpaw_async.batch.run.follow import Following
    from hitpaw_async.batch.run.run import Run

__all__ = ["Open"]


@attrs.define(kw_only=True, eq=False)
class Open:
    """An open batch. It is made when the journal has been recovered, and gone when that is closed."""

    tasks: TaskGroup
    bookkeeper: Bookkeeper
    names_taken: NamesTaken
    run_number: int
    """The number of this opening of the journal, or of its newest run."""
    polls_before: int
    """Task calls of the client before it was opened."""
    is_closing: bool = False
    """Whether nothing new is taken any more."""
    hints: Hints = attrs.field(factory=Hints)
    hint_scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    active_run: Run | None = None
    following: Following | None = None
    run_scope: anyio.CancelScope | None = None
    """Cancels the newest run; None before the first."""
    run_ended: anyio.Event = attrs.field(factory=anyio.Event)
    """Whether the newest run has ended."""
    is_rerun: bool = False
    has_enqueued: bool = False
    may_be_renewed: bool = False
