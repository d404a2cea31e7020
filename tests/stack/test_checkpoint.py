"""`checkpoint.toml` is read strictly, and a mistake in it is one line for a person."""

from itertools import pairwise
from pathlib import Path

import pytest

from stack.checkpoint import Checkpoint, checkpoints, find, previous, read
from stack.errors import StackError

GOOD = """
number = 1
name = "naive"
title = "Everybody's first"
change = "none"
touches = []
shows = ["list"]
[serve]
command = ["uvicorn", "app.main:app"]
services = ["postgres"]
"""


def test_a_checkpoint_is_found_by_number_and_by_name() -> None:
    for checkpoint in checkpoints():
        number = checkpoint.number
        assert find(str(number)) == find(f"{number:02d}") == find(checkpoint.name) == checkpoint


def test_an_unknown_checkpoint_is_answered_with_the_choices() -> None:
    with pytest.raises(StackError, match="01 naive"):
        find("nonesuch")


def test_the_climb_is_numbered_without_gaps_and_ordered() -> None:
    numbers = [checkpoint.number for checkpoint in checkpoints()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_each_step_stands_on_the_one_below() -> None:
    steps = checkpoints()
    assert [previous(step) for step in steps] == [None, *steps[:-1]]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (GOOD.replace("touches", "touched"), "touch"),
        (GOOD.replace("number = 1", "number ="), "not valid TOML"),
        (GOOD.replace('"postgres"', '"oracle"'), "services"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(tmp_path: Path, broken: str, words: str) -> None:
    (tmp_path / "checkpoint.toml").write_text(broken)
    with pytest.raises(StackError, match=words):
        read(tmp_path)


def test_a_folder_without_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"no checkpoint\.toml"):
        read(tmp_path)


def test_a_step_touches_what_it_says_and_nothing_else() -> None:
    for below, step in pairwise(checkpoints()):
        differ = {
            str(path)
            for path in files(below) | files(step)
            if not (below.directory / path).exists()
            or not (step.directory / path).exists()
            or (below.directory / path).read_bytes() != (step.directory / path).read_bytes()
        }
        assert differ == set(step.touches), step.label


def files(step: Checkpoint) -> set[Path]:
    code = [*step.directory.rglob("*.py"), *step.directory.rglob("*.sql")]
    return {path.relative_to(step.directory) for path in code}


def test_a_prediction_has_one_truth() -> None:
    for step in checkpoints():
        for asked in step.predictions:
            answers = [
                claim.name
                for claim in step.claims
                if asked.truth in (claim.counter, f"{claim.workload}.{claim.counter}")
            ]
            measured = asked.truth.partition(".")[0] in step.shows
            assert len(answers) == 1 or (measured and not answers), f"{step.label}: {asked.truth}"
