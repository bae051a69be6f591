"""Facts about a source video: how long, how fast, how large, in what; and why a file is none.

Only headers and the first pictures are read; nothing is downloaded whole and nothing is judged by its name. Needs the
extra `media`.
"""

from __future__ import annotations

from hitpaw_async.media._probe import probe, probe_file

__all__ = ["probe", "probe_file"]
