"""A batch as one HTML page that needs nothing else: figures, charts, and pictures before and after. Extra `report`.

    summary = await write_report("library.db", "report.html", budget=500)

It reads the journal, the results and, for the pictures before, the sources; it changes none of them and asks the vendor
nothing.
"""

from __future__ import annotations

from hitpaw_async.report._writing import ReportSummary, write_report

__all__ = ["ReportSummary", "write_report"]
