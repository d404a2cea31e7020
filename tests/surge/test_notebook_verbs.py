"""An experiment of a notebook changes what it says and nothing else."""

import filecmp
from pathlib import Path

import pytest

from stack.checkpoint import find
from stack.errors import StackError
from surge import notebook
from surge.run import workspace


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "WORK", tmp_path)


def test_what_if_changes_one_file() -> None:
    folder = notebook.what_if("05", "test", "app/partners.py", ("limit=0", "limit=1"))
    files = [path.relative_to(folder) for path in folder.rglob("*.*")]
    same, changed, missing = filecmp.cmpfiles(find("05").directory, folder, files, shallow=False)
    assert [str(path) for path in changed] == ["app/partners.py"]
    assert len(same) == len(files) - 1
    assert not missing
    assert "limit=1" in (folder / "app" / "partners.py").read_text()


def test_what_if_raises_when_the_text_is_not_there() -> None:
    with pytest.raises(StackError, match=r"^app/main.py of 05 async does not have 'no such text'"):
        notebook.what_if("05", "test", "app/main.py", ("no such text", ""))


def test_a_variant_changes_the_label_and_how_it_is_served() -> None:
    step = find("13")
    other = notebook.variant("13", "granian", ["granian", "--port={port}"], {"POOL_SIZE": "5"})
    assert other.label == "13 workers (granian)"
    assert other.serve.command == ["granian", "--port={port}"]
    assert other.serve.environment == {**step.serve.environment, "POOL_SIZE": "5"}
    alike = {"name", "serve"}
    assert other.model_dump(exclude=alike) == step.model_dump(exclude=alike)
    assert notebook.variant("13", "same").serve == step.serve
