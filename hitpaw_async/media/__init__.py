"""Facts about a source video: how long, how fast, how large, in what; why a file is none; and a picture out of it.

Only headers and the first pictures are read; nothing is downloaded whole and nothing is judged by its name. Needs the
extra `media`.
"""

from __future__ import annotations

from hitpaw_async.media._apart import ProcessLimits
from hitpaw_async.media._pictures import Picture
from hitpaw_async.media._probe import probe, probe_file, take_picture

__all__ = ["Picture", "ProcessLimits", "probe", "probe_file", "take_picture"]
