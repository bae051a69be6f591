"""Results to disk: fetched, checked, and published whole or not at all."""

from hitpaw_async.download.downloader import Downloader, target_of, target_path

__all__ = ["Downloader", "target_of", "target_path"]
