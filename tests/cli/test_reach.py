"""Addresses that no vendor can fetch a video from are refused before anything is priced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitpaw_async.cli.inputs.reach import unreachable
from hitpaw_async.errors import InvalidRequestError
from hitpaw_async.models import VideoModel
from tests.cli.program import write_list

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.program import Program
    from tests.cli.tiny_vendor import TinyVendor

VENDOR = "https://api.vendor.example"
PRIVATE = [
    "http://localhost/a.mp4",
    "http://localhost:8000/a.mp4",
    "http://127.0.0.1/a.mp4",
    "http://127.1/a.mp4",
    "http://2130706433/a.mp4",
    "http://0x7f.1/a.mp4",
    "http://[::1]/a.mp4",
    "http://[::ffff:192.168.1.4]/a.mp4",
    "http://[fd00::1]/a.mp4",
    "http://10.1.2.3/a.mp4",
    "http://172.20.0.2:9000/a.mp4",
    "https://192.168.1.4/a.mp4",
    "http://169.254.1.1/a.mp4",
    "http://nas/films/a.mp4",
    "http://nas.local/films/a.mp4",
    "http://media.lan./films/a.mp4",
    "http://files.internal/a.mp4",
]
PUBLIC = [
    "https://films.example.com/a.mp4",
    "https://films.example.com/localhost/192.168.1.4.mp4",
    "http://93.184.216.34/a.mp4",
    "http://[2606:2800:220:1:248:1893:25c8:1946]/a.mp4",
    "https://localhost.example.com/a.mp4",
    "https://notyoutube.com/a.mp4",
    "https://bucket.s3.amazonaws.com/youtube.com/a.mp4?X-Amz-Signature=1",
    "https://www.dropbox.com/s/abc/a.mp4?dl=1",
    "https://www.dropbox.com/scl/fi/abc/a.mp4?rlkey=1&raw=1",
    "https://dl.dropboxusercontent.com/s/abc/a.mp4",
    "https://drive.google.com/uc?export=download&id=1AbCdEfGhIjKl",
    "https://drive.usercontent.google.com/download?id=1AbCdEfGhIjKl&export=download&confirm=t",
    "https://firm.sharepoint.com/:v:/s/films/abc?e=1&download=1",
]


@pytest.mark.parametrize("url", PRIVATE)
def test_a_private_address_is_refused_with_what_to_do(url: str) -> None:
    problem = unreachable(url, VENDOR)

    assert problem is not None
    assert "private network" in problem
    assert "bucket" in problem


@pytest.mark.parametrize("url", PRIVATE)
@pytest.mark.parametrize("vendor", ["http://127.0.0.1:8787", "http://localhost:8787", "http://10.0.0.5", "http://sim"])
def test_a_vendor_in_a_private_network_reaches_it(url: str, vendor: str) -> None:
    assert unreachable(url, vendor) is None


@pytest.mark.parametrize("url", PUBLIC)
def test_a_public_address_of_a_file_is_taken(url: str) -> None:
    assert unreachable(url, VENDOR) is None


@pytest.mark.parametrize(
    ("url", "fix"),
    [
        (
            "https://drive.google.com/file/d/1AbCdEfGhIjKl_-9/view?usp=sharing",
            "https://drive.usercontent.google.com/download?id=1AbCdEfGhIjKl_-9&export=download&confirm=t",
        ),
        ("https://drive.google.com/open?id=1AbCdEfGhIjKl", "download?id=1AbCdEfGhIjKl&"),
        ("https://drive.google.com/file/u/1/d/1AbCdEfGhIjKl/edit", "download?id=1AbCdEfGhIjKl&"),
        ("https://drive.google.com/drive/folders/1AbCdEfGhIjKl", "each file by itself"),
        ("https://www.dropbox.com/s/abc/a.mp4?dl=0", "dl=1"),
        ("https://www.dropbox.com/scl/fi/abc/a.mp4?rlkey=1", "dl=1"),
        ("https://dropbox.com/s/abc/a.mp4", "dl=1"),
        ("https://firm.sharepoint.com/:v:/s/films/abc?e=1", "download=1"),
        ("https://www.youtube.com/watch?v=abc", "YouTube"),
        ("https://youtu.be/abc", "YouTube"),
        ("https://m.youtube.com/shorts/abc", "YouTube"),
        ("https://vimeo.com/123", "Vimeo"),
        ("https://1drv.ms/v/abc", "OneDrive"),
        ("https://photos.app.goo.gl/abc", "Google Photos"),
        ("https://we.tl/t-abc", "WeTransfer"),
        ("https://WWW.YOUTUBE.COM./watch?v=abc", "YouTube"),
    ],
)
def test_a_page_is_refused_with_its_fix(url: str, fix: str) -> None:
    problem = unreachable(url, VENDOR)

    assert problem is not None
    assert fix in problem


@pytest.mark.parametrize("command", ["plan", "enhance"])
def test_nothing_is_priced_or_sent_for_a_list_with_such_addresses(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, command: str
) -> None:
    hitpaw.environment["HITPAW_API_BASE_URL"] = "https://vendor.example.com"
    urls = ("http://192.168.1.4/a.mp4", "https://youtu.be/abc", "https://films.example.com/a.mp4")

    said = hitpaw.run(command, "-i", write_list(tmp_path, [{"video_url": url} for url in urls]), "--no-probe")

    assert (said.code, said.out) == (2, "")
    assert "Nothing was sent or spent: the input has 2 problems" in said.err
    assert "192.168.1.4 is an address" in said.err
    assert "YouTube" in said.err


def test_a_folder_that_is_served_on_loopback_is_refused_for_the_real_vendor(program: Program, tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mp4").write_bytes(b"")

    said = program.run("plan", "films", "--serve-from", "films=http://localhost:8000", "--no-probe")

    assert said.code == 2
    assert "localhost is an address of this machine" in said.err


@pytest.mark.parametrize("model", [*VideoModel])
def test_the_vendors_titles_are_models(model: VideoModel) -> None:
    assert VideoModel.parse(model.title) is model
    assert VideoModel.parse(f"  {model.title.lower()} ") is model
    assert VideoModel.parse(model.slug) is model


@pytest.mark.parametrize(
    ("slip", "meant"),
    [("face-shrap", "face-sharp"), ("animaton", "animation"), ("General Denoise Quallity", "general-denoise-quality")],
)
def test_a_slip_in_a_models_name_is_answered_with_the_nearest(slip: str, meant: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"Did you mean {meant}"):
        VideoModel.parse(slip)


def test_nothing_near_is_no_guess() -> None:
    with pytest.raises(InvalidRequestError) as failure:
        VideoModel.parse("26")
    assert "Did you mean" not in str(failure.value)
