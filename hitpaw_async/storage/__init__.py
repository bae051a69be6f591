"""Buckets: sources on their way to the vendor (staging), and results on their way back (output). Extra `storage`.

Anything with the methods of `Staging` or `Output` will do in place of a `Bucket`: a company's own store, for example.
"""

from __future__ import annotations

from hitpaw_async.errors import StorageError
from hitpaw_async.storage._bucket import Bucket, FoundObject
from hitpaw_async.storage._check import CheckStep, Finding
from hitpaw_async.storage._files import Chosen, FoundFile
from hitpaw_async.storage._local import find_videos, local_video, local_videos
from hitpaw_async.storage._protocols import LocalVideo, Output, Part, Staged, StagedObject, Staging
from hitpaw_async.storage._vendor import VendorStorage

__all__ = [
    "Bucket",
    "CheckStep",
    "Chosen",
    "Finding",
    "FoundFile",
    "FoundObject",
    "LocalVideo",
    "Output",
    "Part",
    "Staged",
    "StagedObject",
    "Staging",
    "StorageError",
    "VendorStorage",
    "find_videos",
    "local_video",
    "local_videos",
]
