"""The rooms of the tools: who may import from whom, and how full a room may get."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.paths import CHECKPOINTS, ROOT

# From the top down. A room imports from itself and from rooms below it, never from its own floor or
# from above. A room is a folder of a package, or a module that lies beside the folders.
FLOORS = (
    "surge.cli surge.notebook",
    "surge.book surge.climb",
    "surge.present surge.exercise",
    "surge.measure",
    "surge.run",
    "surge.crowd surge.count",
    "surge.results",
    "surge.load surge.machine",
    "stack.system stack.container",
    "stack.workers stack.service stack.servers",
    "stack.processes stack.stubs",
    "stack.host",
    "stack.checkpoint",
    "stack.seed",
    "stack.errors",
    "stack.paths",
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms.split()}
PACKAGES = {"surge": ROOT / "notebooks" / "surge", "stack": ROOT / "compose" / "stack"}
MODULES, LINES = 12, 300  # that a room, and a module, has at most


def room_of(module: str) -> str:
    """Give the first two parts of a module's name: its room."""
    return ".".join(module.split(".")[:2])


def modules() -> Iterator[tuple[str, Path]]:
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            if path.name != "__init__.py" and path.parent.name != "injected":
                yield ".".join((package, *path.relative_to(folder).with_suffix("").parts)), path


def imported(code: str) -> set[str]:
    """Give the modules that a module imports, wherever in it; `from a import b` is a.b."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def runs_upwards(module: str, code: str) -> list[str]:
    """Say of each import that does not run downwards between which modules, and the rule."""
    room = room_of(module)
    ours = {name for name in imported(code) if name.partition(".")[0] in PACKAGES}
    return [
        f"{module} imports {name}: {room} stands on floor {FLOOR[room]}, {room_of(name)} on "
        f"{FLOOR[room_of(name)]}; imports run from the top (0) down"
        for name in sorted(ours)
        if room_of(name) != room and FLOOR[room_of(name)] <= FLOOR[room]
    ]


def test_imports_of_the_tools_run_downwards() -> None:
    assert [line for name, path in modules() for line in runs_upwards(name, path.read_text())] == []


def test_every_room_has_its_floor() -> None:
    assert {room_of(name) for name, _ in modules()} == set(FLOOR)


@pytest.mark.parametrize(
    "code",
    [
        "from surge.measure.verdict import cost",
        "from surge.measure import verdict",
        "import surge.measure.verdict",
        "def late():\n    from surge.measure import verdict",
    ],
)
def test_an_import_that_runs_upwards_is_named_with_the_rule(code: str) -> None:
    [said] = runs_upwards("surge.results.rows", code)
    assert said.startswith("surge.results.rows imports surge.measure")
    assert "imports run from the top" in said


def test_checkpoints_stand_on_their_own() -> None:
    for path in CHECKPOINTS.glob("*/app/**/*.py"):
        for name in imported(path.read_text()):
            assert name.partition(".")[0] not in PACKAGES, (
                f"{path} imports {name}; a checkpoint imports neither `stack` nor `surge`"
            )


def test_no_room_is_crowded_and_no_module_is_long() -> None:
    for top in ("compose", "notebooks", "tests"):
        paths = sorted((ROOT / top).rglob("*.py"))
        rooms = Counter(path.parent for path in paths if path.stem != "__init__")
        for folder, number in rooms.items():
            assert number <= MODULES, f"{folder} has {number} modules; a room has {MODULES} at most"
        for path in paths:
            lines = len(path.read_text().splitlines())
            assert lines <= LINES, f"{path} has {lines} lines; a module has {LINES} at most"
