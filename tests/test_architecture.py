"""The rules of the layout in CONTRIBUTING.md that no other tool checks: import-linter checks the layers."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import caslie_tools
from tests.paths import ROOT

PACKAGE = ROOT / "caslie_tools"
MOST_LINES = 400
MOST_TOP_LEVEL_MODULES = 12
_TEST_MODULE = re.compile(r"tests\.(\w+\.)*(conftest|test_)")
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def imports_of(path: Path) -> Iterator[str]:
    """Yields the full names of the modules that a file imports anywhere, and of the names that it imports from them."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def test_no_module_is_too_long() -> None:
    modules = [*PACKAGE.rglob("*.py"), *(ROOT / "graphs").rglob("*.py")]
    lines = {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in modules}
    assert len(lines) > 100
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_the_top_level_has_few_modules() -> None:
    modules = [path.name for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]
    assert "caslie.py" in modules
    assert len(modules) <= MOST_TOP_LEVEL_MODULES, modules


def test_the_public_names_are_those_of_the_stub_and_can_be_imported() -> None:
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    names = [alias.asname for node in ast.walk(stub) if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(vars(caslie_tools)["__all__"]) == sorted(map(str, names))
    for name in map(str, names):
        assert getattr(caslie_tools, name) is not None


def test_tests_share_only_helper_modules() -> None:
    imported = [(path.relative_to(ROOT).as_posix(), name) for path in TESTS for name in imports_of(path)]
    assert ("tests/test_architecture.py", "tests.paths.ROOT") in imported
    assert [(path, name) for path, name in imported if _TEST_MODULE.match(name)] == []


def test_a_helper_module_of_the_tests_has_a_docstring() -> None:
    helpers = [path for path in TESTS if not path.name.startswith(("test_", "__init__", "conftest"))]
    bare = [path for path in helpers if ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) is None]
    assert bare == []
