"""Each package that is not always installed belongs to an extra, and the error for a missing one names this extra."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from caslie_tools._optional import require
from caslie_tools.exceptions import MissingExtraError
from caslie_tools.serving.plan import TESTED_VLLM
from tests.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
SOURCES = sorted((ROOT / "caslie_tools").rglob("*.py")) + sorted((ROOT / "graphs").glob("*.py"))


@cache
def distributions() -> Mapping[str, list[str]]:
    """Returns the installed packages by the modules that they contain."""
    return packages_distributions()


@cache
def required_by(package: str) -> frozenset[str]:
    """Returns what an installed package requires, without its extras."""
    try:
        required = [Requirement(each) for each in requires(package) or []]
    except PackageNotFoundError:
        return frozenset()
    wanted = [each for each in required if each.marker is None or each.marker.evaluate({"extra": ""})]
    return frozenset(canonicalize_name(each.name) for each in wanted)


def closure(requirements: Iterable[str]) -> set[str]:
    """Returns the packages of the requirements and those that they require, as far as they are installed."""
    found: set[str] = set()
    remaining: set[str] = {canonicalize_name(Requirement(each).name) for each in requirements}
    while remaining:
        package = remaining.pop()
        found.add(package)
        remaining |= required_by(package) - found
    return found


ALWAYS = closure(PROJECT["dependencies"]) | {"caslie-tools"}
BY_EXTRA = {extra: closure(requirements) for extra, requirements in EXTRAS.items()}


def calls(tree: ast.Module, function: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function:
            yield node


def value(node: ast.expr, source: Path) -> str | None:
    """Returns a literal, or the value of a constant of the module."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name) and node.id.isupper():
        module = ".".join(source.relative_to(ROOT).with_suffix("").parts)
        return str(getattr(import_module(module), node.id))
    return None


def named_extras(source: Path) -> Iterator[tuple[str | None, str]]:
    """Returns the modules that a file requires, each with the extra that its error names."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    embedded = "backends/embedded" in source.as_posix()
    for call in calls(tree, "require"):
        extra = "embedded" if embedded else value(call.args[1], source)
        if extra in EXTRAS:
            yield value(call.args[0], source), extra
    for call in calls(tree, "MissingExtraError"):
        if (extra := value(call.args[0], source)) is not None:
            yield None, extra


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(ROOT)))
def test_an_error_names_the_extra_that_installs_the_module(source: Path) -> None:
    for module, extra in named_extras(source):
        assert extra in EXTRAS
        top = (module or "").partition(".")[0]
        if top in distributions():  # not for modules of Python, or of packages that are not installed
            assert {canonicalize_name(each) for each in distributions()[top]} & BY_EXTRA[extra], module


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(ROOT)))
def test_a_module_imports_only_what_is_always_installed_or_what_an_extra_that_it_names_installs(source: Path) -> None:
    tree = ast.parse(source.read_text(encoding="utf-8"))
    named = {extra for _, extra in named_extras(source)} | set(
        re.findall(r"[Ee]xtra ``(\w+)``", ast.get_docstring(tree) or "")
    )
    allowed = ALWAYS.union(*(BY_EXTRA[extra] for extra in named))
    handled = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.Try) or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules = [node.module]
        else:
            continue
        for top in {module.partition(".")[0] for module in modules} - sys.stdlib_module_names - {"caslie_tools"}:
            packages = {canonicalize_name(each) for each in distributions().get(top, [])}
            assert node in handled or packages & allowed, f"{source}:{node.lineno} imports {top}"


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_message_of_the_error_is_a_command(extra: str) -> None:
    with pytest.raises(
        MissingExtraError, match=rf"^Testing needs .*: pip install 'caslie-tools\[{extra}\]'$"
    ) as raised:
        require("no_such_package_of_ours", extra, "Testing")
    assert raised.value.extra == extra


def test_the_documentation_lists_every_extra() -> None:
    page = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")
    rows = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert set(EXTRAS) <= set(rows)


def test_the_embedded_models_need_neither_torch_nor_transformers() -> None:
    assert not {"torch", "transformers", "sentence-transformers"} & closure(
        PROJECT["dependencies"] + EXTRAS["embedded"]
    )


def test_the_extra_for_serving_installs_the_version_of_vllm_that_the_tests_use() -> None:
    assert f"vllm=={TESTED_VLLM}" in EXTRAS["vllm"]
