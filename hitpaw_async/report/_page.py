"""Figures, charts and pictures as one HTML page: it fetches nothing, and its policy allows it nothing."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import attrs

from hitpaw_async._format import counted, span
from hitpaw_async._lacks import unloadable
from hitpaw_async.models import ItemState
from hitpaw_async.report._charts import CreditsChart, LatencyChart, TimeAxis, Timeline

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from jinja2 import Template

    from hitpaw_async.report._figures import Figures, Video
    from hitpaw_async.report._pairs import Pair

__all__ = ["MARK", "Page"]

MARK: Final = "<!-- written by hitpaw-async -->"
"""Stands in the first line of every report: only a report is ever replaced by a report."""
ROWS_MAX: Final = 1000
OWN_COLUMNS_MAX: Final = 12
"""Of a person's own: more don't fit beside each other."""
_TEMPLATES: Final = files("hitpaw_async.report") / "templates"
_PHASES: Final = {
    "waiting": "waiting at the vendor",
    "converting": "converting",
    "vendor": "at the vendor",
    "downloading": "downloading",
}
_SHOWN_FIRST: Final = (ItemState.FAILED, ItemState.UNCERTAIN, ItemState.REJECTED, ItemState.SKIPPED)


@attrs.frozen(kw_only=True)
class Page:
    """Contents of a page."""

    figures: Figures
    pairs: Sequence[Pair]
    journal_name: str
    version: str
    made_at: datetime.datetime
    budget: int | None = None
    note: str = ""
    """A sentence under the pictures, e.g. whose they are."""

    def render(self) -> str:
        """The page's text."""
        style, script = _file("report.css"), _file("report.js")
        return _template().render(
            mark=MARK,
            page=self,
            tiles=[*self._tiles()],
            charts=self._charts(),
            phases=_PHASES,
            rows=(rows := self._rows()),
            own_names=[*dict.fromkeys(name for video in rows for name in video.own)][:OWN_COLUMNS_MAX],
            rows_left=max(0, len(self.figures.videos) - ROWS_MAX),
            style=style,
            script=script,
            policy=f"default-src 'none'; img-src data:; style-src '{_source_hash(style)}'; "
            f"script-src '{_source_hash(script)}'; base-uri 'none'; form-action 'none'",
            counted=counted,
            span=span,
        )

    def _tiles(self) -> list[tuple[str, str, str]]:
        """Figure, word and class of each tile."""
        figures = self.figures
        tiles = [(str(len(figures.videos)), "videos" if len(figures.videos) != 1 else "video", "")]
        tiles += [
            (str(figures.counts[state]), str(state), str(state)) for state in ItemState if figures.counts.get(state)
        ]
        tiles.append(
            (str(figures.credits_spent), "credits spent, at most" if figures.credits_spent else "credits spent", "")
        )
        if figures.credits_held:
            tiles.append((str(figures.credits_held), "credits reserved", ""))
        if self.budget is not None:
            left = max(0, self.budget - figures.credits_spent - figures.credits_held)
            tiles.append((str(left), f"left of {self.budget}", ""))
        return tiles

    def _charts(self) -> dict[str, Any]:
        figures = self.figures
        charts: dict[str, Any] = {}
        if figures.phases:
            axis = TimeAxis.over(figures.phases)
            charts["axis"] = axis
            charts["timeline"] = Timeline.of(figures, axis)
            if figures.credits_spent and figures.steps:
                charts["credits"] = CreditsChart.of(figures, axis, self.budget)
        if figures.latencies_s:
            charts["latency"] = LatencyChart.of(figures.latencies_s)
        return charts

    def _rows(self) -> list[Video]:
        """The videos of the table: those with a reason first, then the rest in their order."""
        videos = sorted(self.figures.videos, key=_rank)
        return videos[:ROWS_MAX]


def _rank(video: Video) -> int:
    return _SHOWN_FIRST.index(video.state) if video.state in _SHOWN_FIRST else len(_SHOWN_FIRST)


@cache
def _file(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _source_hash(text: str) -> str:
    """A style's or script's hash, as a policy names what it allows."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


@cache
def _template() -> Template:
    try:
        from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 (an extra)
    except (ImportError, OSError, MemoryError) as error:
        failure = unloadable(error, purpose="A report", name="jinja2", extra="report", modules=("jinja2",))
        raise failure from None
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_file("report.html.jinja"))
