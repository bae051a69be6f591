"""Hosts that the user trusts by flag, variable or file: results are fetched from them, private addresses or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from tests.cli.test_enhance import QUICK, row, write_list
from tests.cli.tiny_vendor import RESULT, TinyVendor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.program import Program


@attrs.define(eq=False)
class VendorWithStorage(TinyVendor):
    """A vendor whose results are at another origin."""

    storage: str = ""

    def describe(self, job_id: str) -> dict[str, str] | None:
        said = super().describe(job_id)
        return said and {**said, "res_url": said["res_url"].replace(self.base_url, self.storage)}


@pytest.fixture
def vendor() -> Iterator[TinyVendor]:
    with TinyVendor() as storage, VendorWithStorage() as vendor:
        vendor.storage = storage.base_url
        yield vendor


def enhance(hitpaw: Program, folder: Path, *flags: str) -> object:
    return hitpaw.run("enhance", "-i", write_list(folder, [row("one")]), "--budget", 10, "-o", "out", *QUICK, *flags)


def result_of(folder: Path) -> bytes | None:
    found = [*(folder / "out").glob("*.mp4")]
    return found[0].read_bytes() if found else None


def test_a_result_in_a_private_network_is_refused_and_the_flag_named(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    said = hitpaw.run("enhance", "-i", write_list(tmp_path, [row("one")]), "--budget", 10, "-o", "out", *QUICK)

    assert said.code == 1, said.err
    assert "--trusted-host" in said.out, said.err
    assert (vendor.charges.total(), result_of(tmp_path)) == (1, None)


def test_with_the_flag_it_is_fetched_and_so_it_is_by_resume(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    enhance(hitpaw, tmp_path)

    said = hitpaw.run("resume", "out", "--failed", "--trusted-host", "127.0.0.1", "--json")

    assert said.code == 0
    assert (vendor.charges.total(), result_of(tmp_path)) == (1, RESULT)


@pytest.mark.parametrize("way", ["flag", "variable", "list in a file", "text in a file"])
def test_several_hosts_are_named_by_flag_variable_or_file(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, way: str
) -> None:
    flags = ()
    if way == "flag":
        flags = ("--trusted-host", "cdn.example", "--trusted-host", "127.0.0.1")
    elif way == "variable":
        hitpaw.environment["HITPAW_TRUSTED_HOST"] = "cdn.example, 127.0.0.1"
    else:
        value = '["cdn.example", "127.0.0.1"]' if "list" in way else '"cdn.example 127.0.0.1"'
        (tmp_path / "user.toml").write_text(f"trusted_host = {value}\n")
        hitpaw.environment["HITPAW_CONFIG"] = "user.toml"

    enhance(hitpaw, tmp_path, *flags)

    assert (vendor.charges.total(), result_of(tmp_path)) == (1, RESULT)


def test_a_project_file_may_trust_nobody(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> None:
    (tmp_path / "hitpaw.toml").write_text("trusted_host = ['127.0.0.1']\n")

    said = hitpaw.run("enhance", "-i", write_list(tmp_path, [row("one")]), "--budget", 10, *QUICK)

    assert said.code == 2
    assert "may be anybody's" in said.err
    assert vendor.charges.total() == 0


def test_what_is_no_host_is_refused_before_anything_is_spent(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    said = hitpaw.run(
        "enhance", "-i", write_list(tmp_path, [row("one")]), "--budget", 10, *QUICK, "--trusted-host", "http://a/b"
    )

    assert said.code == 2
    assert "--trusted-host" in said.err
    assert vendor.charges.total() == 0
