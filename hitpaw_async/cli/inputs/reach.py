"""Addresses that the vendor can't fetch a video from: private networks, and pages that only show one. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from hitpaw_async._urls.addresses import Endpoint, is_local_name, is_public, is_unusual_number

if TYPE_CHECKING:
    from urllib.parse import SplitResult

__all__ = ["is_private", "unreachable"]

_PLAYERS: Final = {
    "youtube.com": "YouTube",
    "youtu.be": "YouTube",
    "vimeo.com": "Vimeo",
    "dailymotion.com": "Dailymotion",
    "twitch.tv": "Twitch",
    "tiktok.com": "TikTok",
    "instagram.com": "Instagram",
    "facebook.com": "Facebook",
    "fb.watch": "Facebook",
    "bilibili.com": "Bilibili",
}
"""Sites whose pages play videos."""
_SHARES: Final = {
    "photos.google.com": "Google Photos",
    "photos.app.goo.gl": "Google Photos",
    "1drv.ms": "OneDrive",
    "onedrive.live.com": "OneDrive",
    "icloud.com": "iCloud",
    "wetransfer.com": "WeTransfer",
    "we.tl": "WeTransfer",
    "mega.nz": "MEGA",
}
"""Sites whose links lead to a page with a button."""
_DRIVE_ID: Final = re.compile(r"/(?:file/)?(?:u/[0-9]+/)?d/([A-Za-z0-9_-]{10,})")


def unreachable(url: str, vendor: str) -> str | None:
    """Why a vendor can't fetch a video from a web URL, with what to do about it; None if nothing speaks against it.

    Args:
        url: The video's.
        vendor: The vendor's own address: one in a private network, such as the simulator's, reaches its neighbours.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return None
    if is_private(url) and not is_private(vendor):
        return (
            f"video_url: {host[:80]} is an address of this machine or of a private network, which the vendor can't "
            "reach. Put the file where anybody with its URL can fetch it, e.g. into a bucket by a signed URL."
        )
    return _page(parts, host)


def is_private(url: str) -> bool:
    """Whether a URL leads, by its address or by the custom of its name, into a private network."""
    try:
        endpoint = Endpoint.parse(url)
    except ValueError:
        return False
    if endpoint.literal is not None:
        return not is_public(endpoint.literal)
    return is_unusual_number(endpoint.host) or is_local_name(endpoint.host)


def _page(parts: SplitResult, host: str) -> str | None:
    """What is said of a link to a page; None for any other."""
    query = parse_qs(parts.query)
    if _is_at(host, "drive.google.com") and parts.path.rstrip("/") != "/uc":
        return _drive_page(parts, query)
    if _is_at(host, "dropbox.com") and query.get("dl") != ["1"] and query.get("raw") != ["1"]:
        return (
            "video_url is a page of Dropbox, not the video. Write dl=1 in place of dl=0, or add it, at the URL's end."
        )
    if host.endswith(".sharepoint.com") and parts.path.startswith("/:") and "download" not in query:
        return "video_url is a page of SharePoint or OneDrive, not the video. Add download=1 to the URL's query."
    for site, name in _PLAYERS.items():
        if _is_at(host, site):
            return (
                f"video_url is a page of {name} that plays a video, not a video file. Give the URL of a file: if the "
                "video is yours, download it there and publish the file."
            )
    for site, name in _SHARES.items():
        if _is_at(host, site):
            return (
                f"video_url is a page of {name} with a button, not the video. Give a URL under which the file itself "
                "comes, e.g. a bucket's signed one."
            )
    return None


def _drive_page(parts: SplitResult, query: dict[str, list[str]]) -> str:
    found = _DRIVE_ID.search(parts.path)
    file_id = found[1] if found else next(iter(query.get("id", ())), None)
    if file_id is None or "/folders/" in parts.path:
        return "video_url is a page of Google Drive, not a video. Share each file by itself, and give its own link."
    address = f"https://drive.usercontent.google.com/download?id={file_id[:100]}&export=download&confirm=t"
    return (
        "video_url is a page of Google Drive, not the video. Share the file with anyone who has the link, and give "
        f"{address} instead."
    )


def _is_at(host: str, site: str) -> bool:
    return host == site or host.endswith(f".{site}")
