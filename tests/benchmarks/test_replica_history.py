"""The judge of a chaos run finds every kind of broken promise, and none in a run that kept them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from benchmarks.chaos.history import Act, Asked, Epochs, Life, Line, judge

A, B = "sha256:a", "sha256:b"


@dataclass
class Run:
    """Epoch 1 forgets A, epoch 2 forgets B, epoch 3 revokes A; asked all along."""

    lives: list[Life] = field(
        default_factory=lambda: [
            Life("A", "fr_a", A, 0.5, 1.0, 1, 5.0, 6.0, 3),
            Life("B", "fr_b", B, 2.0, 3.0, 2),
        ]
    )
    asked: list[Asked] = field(
        default_factory=lambda: [
            Asked("c1", "a", ("A", "B"), 1.5, 1.9, 200),
            Asked("c2", "b", ("A", "B"), 3.5, 3.9, 200),
            Asked("c3", "a", ("A", "B"), 7.0, 7.5, 200),
            Asked("", "b", ("A", "B"), 7.1, 7.2, 503),
        ]
    )
    lines: list[Line] = field(
        default_factory=lambda: [
            Line("c1", "a", 1, frozenset({A}), 1.55, 1.85),
            Line("c2", "b", 2, frozenset({A, B}), 3.55, 3.85),
            Line("c3", "a", 3, frozenset({B}), 7.05, 7.45),
        ]
    )
    epochs: Epochs = field(
        default_factory=lambda: Epochs(
            {1: 0.9, 2: 2.8, 3: 5.9},
            [Act("forget", "fr_a", A, 1), Act("forget", "fr_b", B, 2), Act("revoke", "fr_a", A, 3)],
            frozenset({"fr_b"}),
        )
    )


def broken(run: Run) -> set[str]:
    verdict = judge(run.lives, run.asked, run.lines, run.epochs)
    return {each.partition(":")[0] for each in verdict.broken}


def test_a_run_that_kept_its_promises() -> None:
    run = Run()
    verdict = judge(run.lives, run.asked, run.lines, run.epochs)
    assert (verdict.broken, verdict.unaudited, verdict.behind) == ([], 0, [])
    assert verdict.checked["matched exactly what its epoch lists"] == 3
    assert all(verdict.checked.values())


def _mixed(run: Run) -> None:
    run.lines[1] = replace(run.lines[1], policies=frozenset({A}))


def _unguarded(run: Run) -> None:
    run.lines[0] = replace(run.lines[0], policies=frozenset())


def _lingering(run: Run) -> None:
    run.lines[2] = replace(run.lines[2], policies=frozenset({A, B}))


def _backwards(run: Run) -> None:
    run.lines[2] = replace(run.lines[2], gateway="b", epoch=1, policies=frozenset({A}))


def _too_early(run: Run) -> None:
    run.epochs = replace(run.epochs, current_at={**run.epochs.current_at, 1: 2.0})


def _never_current(run: Run) -> None:
    run.epochs = replace(run.epochs, current_at={1: 0.9, 3: 5.9})


def _lost(run: Run) -> None:
    run.epochs = replace(run.epochs, active=frozenset())


def _back_from_the_dead(run: Run) -> None:
    run.epochs = replace(run.epochs, active=frozenset({"fr_a", "fr_b"}))


MATCHED = "matched exactly what its epoch lists"
CURRENT = "never ahead of the current epoch"


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (_mixed, {MATCHED, "forgotten after its 2xx"}),
        (_unguarded, {MATCHED, "forgotten after its 2xx"}),
        (_lingering, {MATCHED, "let go after its 2xx"}),
        (
            _backwards,
            {
                "never back to an older epoch",
                "as new as every 2xx before it",
                "forgotten after its 2xx",
                "let go after its 2xx",
            },
        ),
        (_too_early, {CURRENT}),
        (_never_current, {CURRENT}),
        (_lost, {"nothing accepted is lost"}),
        (_back_from_the_dead, {"nothing revoked lingers"}),
    ],
)
def test_what_is_planted_is_found(plant: Callable[[Run], None], found: set[str]) -> None:
    run = Run()
    plant(run)
    assert broken(run) == found


def test_how_long_another_gateway_stayed_behind_is_measured() -> None:
    run = Run()
    run.asked.append(Asked("c4", "a", ("A",), 4.0, 4.2, 200))
    run.lines.append(Line("c4", "a", 1, frozenset({A}), 4.0, 4.2))
    verdict = judge(run.lives, run.asked, run.lines, run.epochs)
    assert verdict.behind == [pytest.approx(4.0 - 3.85)]


def test_an_answer_without_a_line_is_counted() -> None:
    run = Run()
    del run.lines[0]
    assert judge(run.lives, run.asked, run.lines, run.epochs).unaudited == 1
