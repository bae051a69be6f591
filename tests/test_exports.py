"""What is public: every name is declared, importable and documented, and importing the package is cheap."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import hitpaw_async
from hitpaw_async.batch.journal.store import JournalStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

PACKAGE = Path(hitpaw_async.__path__[0])
NOT_LOADED = ("httpx", "httpcore", "anyio", "rich", "av", "sqlite3", "cattrs", "starlette", "asyncio", "trio")
HOMES = ("errors", "models", "policies")
"""Modules whose public names are all the package's as well, but for the spellings that only annotations use."""

ANNOTATIONS_ONLY = {"ModelLike", "ResolutionLike"}


@cache
def public_modules() -> tuple[str, ...]:
    """Modules without an underscore anywhere in their path, but for what an absent extra keeps from loading."""
    found = [module.name for module in pkgutil.walk_packages(hitpaw_async.__path__, "hitpaw_async.")]
    public = [name for name in found if not any(part.startswith("_") for part in name.split("."))]
    return (hitpaw_async.__name__, *public)


def loaded(name: str) -> ModuleType:
    return importlib.import_module(name)


def part_of(module: ModuleType, name: str) -> object:
    """What `from module import name` gives; a submodule that nobody has loaded yet is loaded."""
    return getattr(module, name) if hasattr(module, name) else loaded(f"{module.__name__}.{name}")


@cache
def taken_names() -> dict[str, set[str]]:
    """What each module of the package takes from the others, by the module that it is taken from."""
    taken: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hitpaw_async"):
                taken.setdefault(node.module or "", set()).update(alias.name for alias in node.names)
    return taken


each_module = pytest.mark.parametrize("name", public_modules())


@each_module
def test_a_module_declares_names_that_exist(name: str) -> None:
    module = loaded(name)
    declared = list(getattr(module, "__all__", ()))
    assert len(declared) == len(set(declared))
    assert not [declared_name for declared_name in declared if declared_name.startswith("_")]
    for declared_name in declared:
        assert getattr(module, declared_name) is not None


@pytest.mark.parametrize("name", sorted(taken_names()))
def test_a_module_declares_what_others_take_from_it(name: str) -> None:
    module = loaded(name)
    names = {taken for taken in taken_names()[name] if not inspect.ismodule(part_of(module, taken))}
    assert names <= set(getattr(module, "__all__", ())) | {"__version__"}


@each_module
def test_a_module_and_its_public_names_are_documented(name: str) -> None:
    module = loaded(name)
    assert module.__doc__
    values = [getattr(module, public) for public in getattr(module, "__all__", ())]
    classes = [value for value in values if inspect.isclass(value) and value.__module__.startswith("hitpaw_async")]
    assert all(value.__doc__ for value in (*classes, *filter(inspect.isfunction, values)))
    # What implements a protocol of the same module, or the journal's, is documented there.
    protocols = [*classes, JournalStore]
    documented = {member for kind in protocols for member, function in members(kind) if inspect.getdoc(function)}
    assert {member for kind in classes for member, _ in members(kind)} <= documented


def members(kind: type) -> list[tuple[str, Callable[..., object]]]:
    """The public methods and properties that a class defines itself."""
    own = ((name, value) for name, value in vars(kind).items() if not name.startswith("_"))
    functions = ((name, getattr(value, "__func__", getattr(value, "fget", value))) for name, value in own)
    return [(name, function) for name, function in functions if inspect.isfunction(function)]


@pytest.mark.parametrize("name", hitpaw_async.__all__)
def test_every_public_name_is_there(name: str) -> None:
    value = getattr(hitpaw_async, name)
    assert value is getattr(hitpaw_async, name)
    assert value.__name__ == name
    assert value.__module__.startswith("hitpaw_async.")


def test_the_packages_names_are_sorted_and_listed() -> None:
    assert hitpaw_async.__all__ == sorted(hitpaw_async.__all__)
    assert set(hitpaw_async.__all__) <= set(dir(hitpaw_async))


@pytest.mark.parametrize("home", HOMES)
def test_the_packages_names_are_those_of_its_modules(home: str) -> None:
    names = set(loaded(f"hitpaw_async.{home}").__all__) - ANNOTATIONS_ONLY
    assert names <= set(hitpaw_async.__all__)


def test_the_contracts_names_are_public() -> None:
    contract = {"AsyncHitPaw", "BatchLimits", "CreditBudget", "ExportRequest", "Resolution", "VideoModel", "Job"}
    contract |= {"JobStatus", "VideoFacts", "CreditQuote", "Outcome", "RetryPolicy", "PollPolicy", "BatchPlan"}
    contract |= {"BatchScheduler", "estimate"}
    assert contract <= set(hitpaw_async.__all__)


def test_type_checkers_see_what_is_loaded_lazily() -> None:
    tree = ast.parse(inspect.getsource(hitpaw_async))
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hitpaw_async")
        for alias in node.names
    }
    assert imported == set(hitpaw_async.__all__)


def test_a_name_that_is_not_public_does_not_exist() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = hitpaw_async.nonsense
    with pytest.raises(ImportError):
        exec("from hitpaw_async import Nonsense")


def modules_after(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert modules_after("import hitpaw_async") & set(NOT_LOADED) == set()


def test_importing_the_package_loads_not_even_typing() -> None:
    assert "typing" not in modules_after("import hitpaw_async") - modules_after("pass")


def test_the_pytest_plugin_loads_next_to_nothing() -> None:
    loaded_by_it = modules_after("import pytest, hitpaw_async.testing.plugin") - modules_after("import pytest")
    assert loaded_by_it == {"hitpaw_async"}


EXTRAS = {
    "cli": ("cyclopts", "from hitpaw_async.cli import main; sys.exit(main(['models']))"),
    "media": ("av", "from hitpaw_async.media import probe_file; probe_file('clip.mp4')"),
    "simulator": ("starlette", "from hitpaw_async.simulator import Simulator"),
    "simulator, served": ("uvicorn", "from hitpaw_async.simulator import serve"),
    "storage": ("obstore", "from hitpaw_async.storage import Bucket; Bucket('s3://work')"),
    "testing": ("starlette", "from hitpaw_async.testing import HitPawSimulator"),
    "testing, respx": ("respx", "from hitpaw_async.testing import install_routes"),
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_missing_extra_names_the_command_that_installs_it(extra: str) -> None:
    missing, program = EXTRAS[extra]
    hidden = f"""
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.split(".")[0] == {missing!r} else find(name, *rest)
"""
    done = subprocess.run(
        [sys.executable, "-c", hidden + program], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode != 0
    assert f"pip install 'hitpaw-async[{extra.partition(',')[0]}]'" in done.stderr


@pytest.mark.parametrize("name", ["ExportRequest", "HitPawError", "RetryPolicy", "estimate"])
def test_values_and_errors_load_without_the_network(name: str) -> None:
    assert modules_after(f"from hitpaw_async import {name}") & {"httpx", "rich", "av", "sqlite3"} == set()


def test_the_client_loads_no_extra() -> None:
    # httpx itself loads rich where it finds it.
    assert (
        modules_after("from hitpaw_async import AsyncHitPaw") & {"av", "starlette", "uvicorn", "cyclopts", "obstore"}
        == set()
    )


def test_buckets_load_no_extra_before_one_is_opened() -> None:
    assert modules_after("from hitpaw_async.storage import Bucket, VendorStorage") & {"av", "obstore", "httpcore"} == {
        "httpcore"
    }
