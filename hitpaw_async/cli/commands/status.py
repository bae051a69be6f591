"""`hitpaw status`: where a batch stands, even while it runs."""

from pathlib import Path
from typing import Annotated

from hitpaw_async.cli.commands.standing import read_books, statistics_of
from hitpaw_async.cli.exit_codes import ExitCode
from hitpaw_async.cli.inputs.flags import JOURNAL, JSON
from hitpaw_async.cli.output import tables
from hitpaw_async.cli.output.json_lines import summary_event, write_line
from hitpaw_async.cli.output.messages import (
    command_on,
    statistics_text,
)
from hitpaw_async.cli.settings.batch import (
    checked_journal,
    kept_settings,
)

__all__ = ["status"]


def status(journal: Annotated[Path, JOURNAL], /, *, is_json: Annotated[bool, JSON] = False) -> int:
    """Show where a batch stands, even while it runs.

    It exits 0 whatever it finds.

    Examples:
        hitpaw status enhanced/hitpaw-journal.db
    """
    journal = checked_journal(journal)
    books, kept = read_books(journal), kept_settings(journal)
    statistics = statistics_of(books, None if kept is None else kept.budget)
    counts = {str(state): count for state, count in books.counts.items() if count}
    if is_json:
        write_line({**summary_event(statistics), "credits_left": statistics.credits_left, "counts": counts})
        return ExitCode.DONE
    tables.print_prose(statistics_text(statistics))
    if counts:
        print()
        tables.print_table(
            ["state", "videos"], [(state, str(count)) for state, count in counts.items()], right=["videos"]
        )
        print()
    if kept is not None:
        print(f"Results: {kept.output}\nVendor:  {kept.base_url}")
    if statistics.unfinished or statistics.skipped:
        print(f"Go on:   {command_on('resume', journal)}")
    if statistics.uncertain:
        print(f"Settle:  {command_on('reconcile', journal)}")
    return ExitCode.DONE
