"""Settings that are kept: which place goes first, what none of them may say, and what `hitpaw doctor` makes of it."""

from __future__ import annotations

import shutil
import subprocess
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from tests.cli.program import write_list
from tests.cli.test_enhance import row
from tests.cli.tiny_vendor import KEY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.program import Program
    from tests.cli.tiny_vendor import TinyVendor

PLAN = ("plan", "https://videos.example.com/a.mp4", "--no-probe", "--json")


def budget_of(program: Program, *flags: str) -> int | None:
    said = program.run(*PLAN, *flags)
    assert said.code == 0, said.err
    left = said.summary["credits_left"]
    return None if left is None else int(left)


def test_settings_that_may_be_there_and_cannot_be_seen_are_not_left_out(program: Program, tmp_path: Path) -> None:
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    program.environment["HITPAW_CONFIG"] = "loop.toml"

    said = program.run(*PLAN)

    assert (said.code, said.out) == (2, "")
    assert "The settings in loop.toml can't be read" in said.err
    assert "HITPAW_CONFIG" in said.err


def test_a_flag_goes_before_the_environment_before_the_project_before_the_user(
    program: Program, tmp_path: Path
) -> None:
    assert budget_of(program) is None
    (tmp_path / "user.toml").write_text("budget = 1\nresolution = '1280x720'\n")
    program.environment["HITPAW_CONFIG"] = "user.toml"
    assert budget_of(program) == 1
    (tmp_path / "pyproject.toml").write_text("[tool.hitpaw]\nbudget = 2\n")
    assert budget_of(program) == 2
    (tmp_path / "hitpaw.toml").write_text("budget = 3\n")
    assert budget_of(program) == 3
    program.environment["HITPAW_BUDGET"] = "4"
    assert budget_of(program) == 4
    assert budget_of(program, "--budget", "5") == 5

    said = program.run("doctor", "--offline", "--json")
    found = {finding["name"]: (finding["value"], finding["source"]) for finding in said.events}
    assert found["budget"] == ("4", "environment HITPAW_BUDGET")
    assert found["resolution"] == ("1280x720", "user file user.toml")
    assert found["model"] == ("17", "default")


def test_all_kinds_of_settings_arrive(program: Program, tmp_path: Path) -> None:
    text = (
        'budget = 200\nprobe = false\nresolution = "1280x720"\norder = "cheapest"\ntimeout-s = 1.5\noutput = "there"\n'
    )
    (tmp_path / "hitpaw.toml").write_text(text)

    said = program.run("plan", "https://videos.example.com/a.mp4", "--json")

    assert said.code == 0, said.err
    assert said.summary["credits_upper"] == 160  # nothing is known: ten minutes of 8K at the highest rate
    assert "PyAV" not in said.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("budgt = 1", "Did you mean budget?"),
        ("base_url = 'https://evil.example'", "may be anybody's"),
        ("api_key_file = 'key.txt'", "may be anybody's"),
        ("web_hook_url = 'https://evil.example'", "may be anybody's"),
        ("api_key = 'canary-key'", "A key belongs in a file of its own"),
        ("budget = [1]", "must be a text, a number, true or false"),
        ("budget = ", "can't be read"),
        ("budget = 'many'", "It comes from the project file hitpaw.toml."),
        ("probe = 'perhaps'", "It comes from the project file hitpaw.toml."),
    ],
)
def test_a_project_file_that_cannot_be_used_is_refused_before_anything(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "hitpaw.toml").write_text(text)

    said = hitpaw.run("enhance", "-i", write_list(tmp_path, [row("one")]))

    assert (said.code, said.out) == (2, "")
    assert words in said.err
    assert "canary-key" not in said.err
    assert not vendor.charges


def test_the_users_file_names_the_file_of_the_key_and_the_host(
    program: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "key.txt").write_text(f"{KEY}\n")
    (folder / "config.toml").write_text(f'api_key_file = "key.txt"\nbase_url = "{vendor.base_url}"\n')
    program.environment["HITPAW_CONFIG"] = "config/config.toml"
    job_id = vendor.accept("https://videos.example.com/a.mp4")

    said = program.run("task", job_id, "--json")
    assert said.events[0]["job_id"] == job_id

    (folder / "key.txt").unlink()
    said = program.run("task", job_id)
    assert said.code == 2
    assert "api_key_file in config/config.toml" in said.err


def test_the_doctor_finds_all_well_and_shows_no_key(hitpaw: Program, vendor: TinyVendor) -> None:
    said = hitpaw.run("doctor")

    assert said.code == 0, said.out
    assert "answers (HTTP 200" in said.out
    assert "environment HITPAW_API_BASE_URL" in said.out
    assert "set (not shown, not sent)" in said.out
    assert "every commit flushed" in said.out
    assert KEY not in said.out + said.err
    assert not vendor.charges


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"HITPAW_API_KEY": ""}, "There is no API key."),
        ({"HITPAW_API_BASE_URL": "http://127.0.0.1:9"}, "No connection"),
        ({"HITPAW_API_BASE_URL": "nonsense"}, "base_url must be"),
    ],
)
def test_the_doctor_says_what_is_wrong_and_fails(hitpaw: Program, environment: dict[str, str], words: str) -> None:
    hitpaw.environment |= environment

    said = hitpaw.run("doctor", "--json")

    assert said.code == 1
    (bad,) = [finding for finding in said.events if finding["is_bad"]]
    assert words in bad["value"]
    host = environment.get("HITPAW_API_BASE_URL", "")
    assert f"{bad['value']} {bad['source']}".count(host or bad["value"]) == 1, "it is named, once"


def test_doctor_reads_the_sample_and_says_with_what(hitpaw: Program) -> None:
    said = hitpaw.run("doctor", "--offline", "--json")

    (reading,) = [finding for finding in said.events if finding["section"] == "media"]
    assert reading["value"] == "works: the sample is 640x360, 25 fps, 5 s"
    assert reading["source"] == f"PyAV {version('av')}, tested with PyAV 15 to 19"
    assert not reading["is_bad"]


@pytest.mark.parametrize(
    ("planted", "words", "is_bad"),
    [
        ("import sys; sys.modules['av'] = None", "pip install 'hitpaw-async[media]'", False),
        ("import av; av.__version__ = '20.0.0'", "PyAV 20.0.0 is installed; videos are read with PyAV 15 to 19", True),
        (
            "from hitpaw_async.media import _reading; _reading.video_stream = lambda *_: [][1]",
            "This is a bug in hitpaw-async (IndexError in ",
            True,
        ),
    ],
)
def test_doctor_says_why_media_do_not_work(hitpaw: Program, planted: str, words: str, *, is_bad: bool) -> None:
    hitpaw.launcher = ("-c", f"import sys; {planted}; from hitpaw_async.cli import main; sys.exit(main())")

    said = hitpaw.run("doctor", "--offline", "--json")

    (reading,) = [finding for finding in said.events if finding["section"] == "media"]
    assert words in reading["value"]
    assert reading["is_bad"] is is_bad
    assert said.code == int(is_bad)


def test_bash_completes_commands_and_flags(program: Program, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    script = tmp_path / "hitpaw.bash"
    script.write_text(program.run("completion", "bash").out)

    def completed(*words: str) -> set[str]:
        line = " ".join(map(repr, words))
        code = (
            f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _hitpaw; "
            "printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        return set(subprocess.run([bash, "-c", code], capture_output=True, text=True, check=True).stdout.split())

    assert completed("hitpaw", "re") == {"report", "resume", "reconcile"}
    assert completed("hitpaw", "enhance", "--bud") == {"--budget"}
    assert completed("hitpaw", "plan", "--order", "ch") == {"cheapest"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_too(program: Program, shell: str) -> None:
    said = program.run("completion", shell)
    assert said.code == 0
    assert "enhance" in said.out


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        (("enhance", "--resolutoin", "1x1", "u"), "--resolution"),
        (("enhnace",), "enhance"),
        (("plan", "--budgt", "1"), "--budget"),
    ],
)
def test_what_does_not_exist_gets_the_near_one(program: Program, typed: tuple[str, ...], near: str) -> None:
    said = program.run(*typed)
    assert (said.code, said.out) == (2, "")
    assert "Did you mean" in said.err
    assert near in said.err


@pytest.mark.parametrize("way", ["flag", "environment", "trusted", "user file"])
def test_every_call_goes_through_the_proxy_that_is_set(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, way: str
) -> None:
    proxy, flags = vendor.base_url, ["--poll-interval-s", "0.1", "--no-probe", "--yes"]
    hitpaw.environment["HITPAW_API_BASE_URL"] = "http://vendor.example.com"
    match way:
        case "flag":
            flags += ["--proxy", proxy]
        case "environment":
            hitpaw.environment["HITPAW_PROXY"] = proxy
        case "trusted":
            hitpaw.environment |= {"HTTP_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": "", "no_proxy": ""}
            flags += ["--trust-env"]
        case _:
            (tmp_path / "user.toml").write_text(f"proxy = '{proxy}'\n")
            hitpaw.environment["HITPAW_CONFIG"] = "user.toml"

    said = hitpaw.run("enhance", "https://videos.example.com/a.mp4", *flags, "--json")

    assert vendor.charges, said.err
    assert sum(vendor.charges.values()) == 1


def test_no_folder_says_which_way_the_key_goes(hitpaw: Program, tmp_path: Path) -> None:
    for text in ("proxy = 'http://127.0.0.1:1'", "trust_env = true"):
        (tmp_path / "hitpaw.toml").write_text(text)
        said = hitpaw.run(*PLAN)
        assert said.code == 2
        assert "Files of a folder may be anybody's" in said.err


def test_the_doctor_names_proxies_without_their_passwords_and_says_what_is_not_used(hitpaw: Program) -> None:
    def proxy(*flags: str) -> tuple[int, str, str]:
        said = hitpaw.run("doctor", "--offline", "--json", *flags)
        (found,) = [each for each in said.events if (each["section"], each["name"]) == ("network", "proxy")]
        assert "pa55" not in said.out + said.err
        return said.code, found["value"], found["source"]

    names = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    hitpaw.environment |= dict.fromkeys((*names, *map(str.upper, names)), "")
    assert proxy() == (0, "none", "")
    hitpaw.environment["http_proxy"] = "http://user:pa55@p.example:3128"
    assert proxy() == (0, "none; HTTP_PROXY set in the environment and not used (--trust-env uses it)", "")
    assert proxy("--trust-env") == (0, "http://p.example:3128", "--trust-env")
    assert proxy("--proxy", "http://user:pa55@q.example:1") == (0, "http://q.example:1", "--proxy")
    hitpaw.environment["http_proxy"] = "socks5://user:pa55@p.example:1080"
    code, value, _ = proxy("--trust-env")
    assert code == 1
    assert "HTTP_PROXY must be the http or https URL of a proxy" in value


def test_the_doctor_says_whose_certificates_are_trusted(hitpaw: Program, tmp_path: Path) -> None:
    def authorities() -> tuple[str, str, bool]:
        said = hitpaw.run("doctor", "--offline", "--json")
        (found,) = [each for each in said.events if each["name"] == "authorities"]
        return found["value"], found["source"], found["is_bad"]

    hitpaw.environment |= {"SSL_CERT_FILE": "", "SSL_CERT_DIR": ""}
    assert authorities() == ("the list that comes with it (certifi)", "default", False)
    (tmp_path / "company.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    hitpaw.environment["SSL_CERT_FILE"] = "company.pem"
    assert authorities() == ("company.pem", "environment SSL_CERT_FILE", False)
    hitpaw.environment["SSL_CERT_FILE"] = "nowhere.pem"
    value, _, is_bad = authorities()
    assert is_bad
    assert "SSL_CERT_FILE must name" in value


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_settings_and_keys_that_an_editor_has_marked_are_read(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, encoding: str
) -> None:
    key = hitpaw.environment.pop("HITPAW_API_KEY")
    (tmp_path / "key.txt").write_bytes(f"{key}\r\n".encode(encoding))
    (tmp_path / "user.toml").write_bytes("api_key_file = 'key.txt'\r\nbudget = 7\r\n".encode(encoding))
    hitpaw.environment["HITPAW_CONFIG"] = "user.toml"

    budget = budget_of(hitpaw)
    said = hitpaw.run("enhance", "-i", write_list(tmp_path, [row("one")]), "--json")

    assert budget == 7
    assert (said.code, vendor.charges.total()) == (0, 1)


@pytest.mark.parametrize(
    "content",
    [
        b"[project\nname = 'theirs'",
        b"<<<<<<< HEAD\n[project]\ndependencies = ['hitpaw-async']\n",
        "[project]\nname = 'M\u00fcller'\n".encode("cp1252"),
        b"\0" * 100,
        b"tool = 1\n",
    ],
)
def test_another_tools_broken_project_file_is_no_obstacle(program: Program, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pyproject.toml").write_bytes(content)

    assert budget_of(program) is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_broken_project_file_that_may_have_a_budget_is_refused(
    program: Program, tmp_path: Path, encoding: str
) -> None:
    (tmp_path / "pyproject.toml").write_bytes("[project\n[tool.hitpaw]\nbudget = 7\n".encode(encoding))

    said = program.run("doctor", "--offline")

    assert said.code == 2
    assert "The settings in pyproject.toml can't be read" in said.err


def test_settings_in_another_encoding_are_refused_with_the_line(program: Program, tmp_path: Path) -> None:
    (tmp_path / "hitpaw.toml").write_bytes("budget = 7\noutput = 'F\u00fcr'\n".encode("cp1252"))

    said = program.run("doctor", "--offline")

    assert said.code == 2
    assert "line 2 is not UTF-8. Save it as UTF-8" in said.err
