"""`hitpaw report`: a batch's report as an HTML page."""

from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
from cyclopts import Parameter

from hitpaw_async._format import counted
from hitpaw_async.cli.exit_codes import ExitCode
from hitpaw_async.cli.inputs.flags import JOURNAL, SERVE_FROM, switch
from hitpaw_async.cli.inputs.served_folders import ServedFolders
from hitpaw_async.cli.output.messages import (
    complain,
)
from hitpaw_async.cli.settings.batch import (
    checked_journal,
    checked_place,
    has_media,
    kept_settings,
)

__all__ = ["report"]


def report(
    journal: Annotated[Path, JOURNAL],
    /,
    *,
    output: Annotated[Path, Parameter(name=("-o", "--output"), help="FILE: the page to write.")] = Path("report.html"),
    served: Annotated[tuple[str, ...], SERVE_FROM] = (),
    is_offline: Annotated[
        bool, switch("--offline", help="Fetch no source: pictures before come from local files alone.")
    ] = False,
) -> int:
    """Write a batch's report: one HTML page.

    It has figures, charts, and pictures before and after.
    The page needs no network and no other file. The batch may still be running; nothing is spent.

    Examples:
        hitpaw report enhanced/hitpaw-journal.db -o report.html
    """
    from hitpaw_async.report import write_report  # noqa: PLC0415 (an extra)

    journal, output, folders = checked_journal(journal), checked_place(output), ServedFolders.parse(served)
    kept = kept_settings(journal)
    summary = anyio.run(
        partial(
            write_report,
            journal,
            output,
            budget=None if kept is None else kept.budget,
            local_source=lambda request: folders.path_of(request.video_url),
            is_fetching=not is_offline,
        )
    )
    print(f"{summary.path}: {counted(summary.videos, 'video')}, {summary.page_bytes / 1000:.0f} kB")
    if not has_media():
        complain("There are no pictures in it: that needs PyAV. Install it: pip install 'hitpaw-async[media]'")
    return ExitCode.DONE
