"""A run keeps what it was answered, and nothing is asked twice."""

import json
from pathlib import Path

import pytest

from evals.answers import AnswersFile, Damaged, OtherProbes
from evals.run import OtherRun, Party, begin, digest_of, met, read, versions
from evals.runner import Contestant, answers_path, ask_of
from tests.evals.small_run import (
    KNOWLEDGE,
    SUITES,
    Births,
    Scripted,
    contestant,
    finished,
    forgot,
    knows,
    run_of,
    three,
)


def lines(folder: Path, name: str = "lethe") -> list[str]:
    return answers_path(folder, name, "births").read_text().splitlines()


def test_every_answer_is_on_disk_with_its_probe(tmp_path: Path) -> None:
    watching = finished(tmp_path, three())
    assert [json.loads(line)["probe"]["id"] for line in lines(tmp_path)] == [
        "0-3",
        "0-2",
        "0-1",
        "0-0",
    ]
    kept = AnswersFile(answers_path(tmp_path, "stock", "births")).read()
    assert [one.probe.id for one in kept] == ["0-0", "0-1", "0-2", "0-3"]
    assert kept[0].said == "In Harrowgate."
    assert watching.told[0] == ("lethe", "births", 4, 0)
    assert watching.advanced == 12


def test_what_was_answered_before_an_interruption_is_not_asked_again(tmp_path: Path) -> None:
    first = Scripted("lethe", forgot, limit=3)
    with pytest.raises(KeyboardInterrupt):
        finished(tmp_path, [contestant(first)])
    second = Scripted("lethe", forgot)
    watching = finished(tmp_path, [contestant(second)])
    assert (first.asked, second.asked) == (["0-3", "0-2", "0-1"], ["0-0"])
    assert watching.told == [("lethe", "births", 4, 3)]
    assert len(lines(tmp_path)) == 4
    assert len(read(tmp_path).starts) == 2


def test_a_torn_last_line_is_asked_again(tmp_path: Path) -> None:
    finished(tmp_path, [contestant(Scripted("lethe", forgot))])
    path = answers_path(tmp_path, "lethe", "births")
    whole = path.read_bytes()
    for cut in (1, 2, 40):
        path.write_bytes(whole[:-cut])
        again = Scripted("lethe", forgot)
        finished(tmp_path, [contestant(again)])
        assert again.asked == ["0-0"]
        assert path.read_bytes() == whole


def test_a_damaged_line_within_is_not_passed_over(tmp_path: Path) -> None:
    finished(tmp_path, [contestant(Scripted("lethe", forgot))])
    path = answers_path(tmp_path, "lethe", "births")
    path.write_bytes(b'{"half' + path.read_bytes()[20:])
    with pytest.raises(Damaged, match="line 1"):
        finished(tmp_path, [contestant(Scripted("lethe", forgot))])


def test_nobody_is_opened_who_has_nothing_left_to_answer(tmp_path: Path) -> None:
    finished(tmp_path, three())

    def opened() -> None:
        raise AssertionError("it was started")

    again = [Contestant(each.party, opened) for each in three()]  # type: ignore[arg-type]
    assert finished(tmp_path, again).told == []


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"seed": 1}, "seed"), ({"rows": 3}, "rows"), ({"knowledge": "0"}, "knowledge")],
)
def test_other_parameters_are_refused_by_name(
    tmp_path: Path, changed: dict[str, object], named: str
) -> None:
    finished(tmp_path, three())
    with pytest.raises(OtherRun, match=rf"\({named}\).*lethe eval births"):
        begin(tmp_path, run_of(three()).model_copy(update=changed))
    with pytest.raises(OtherRun, match=r"\(parties\)"):
        begin(tmp_path, run_of(three()[:2]))


def test_answers_to_other_questions_are_refused(tmp_path: Path) -> None:
    finished(tmp_path, three())
    probes = list(Births().probes(KNOWLEDGE, 0))
    file = AnswersFile(answers_path(tmp_path, "lethe", "births"))
    assert file.unanswered(probes) == []
    probes[2] = probes[2].model_copy(update={"facts": ("elsewhere",)})
    with pytest.raises(OtherProbes, match="'0-2'"):
        file.unanswered(probes)
    with pytest.raises(OtherProbes, match="'0-3'"):
        file.unanswered(list(Births().probes(KNOWLEDGE, 0))[:3])


def test_two_probes_with_one_id_are_refused(tmp_path: Path) -> None:
    probe = Births().probes(KNOWLEDGE, 0)[0]
    with pytest.raises(ValueError, match="one id"):
        AnswersFile(tmp_path / "x.jsonl").unanswered([probe, probe])


def test_a_suite_that_the_data_does_not_suffice_for_is_left_out_with_the_reason(
    tmp_path: Path,
) -> None:
    assert ask_of(SUITES, KNOWLEDGE, 0).skipped == {"choosy": "it needs choices"}
    finished(tmp_path, three())
    assert read(tmp_path).skipped == {"choosy": "it needs choices"}


def test_run_json_tells_what_is_needed_for_the_same_again(tmp_path: Path) -> None:
    finished(tmp_path, three(), seed=5)
    kept = json.loads((tmp_path / "run.json").read_text())
    assert (kept["seed"], kept["source"], kept["suites"]) == (5, "small", ["births", "choosy"])
    assert kept["knowledge"] == digest_of(KNOWLEDGE)
    assert [party["role"] for party in kept["parties"]] == ["examined", "compared", "never knew"]
    [start] = kept["starts"]
    assert start["measured"]["stock"] == {"model.id": "stock 1"}
    assert start["concurrency"] == 2
    assert start["versions"].keys() >= {"python", "numpy", "scipy", "openai"}
    assert start["at"].endswith("+00:00")


def test_other_data_has_another_digest() -> None:
    other = KNOWLEDGE.model_copy(update={"source": "other"})
    assert digest_of(other) != digest_of(KNOWLEDGE)


def test_what_an_endpoint_says_of_itself_belongs_to_the_newest_start(tmp_path: Path) -> None:
    begin(tmp_path, run_of(three()))
    run = met(begin(tmp_path, run_of(three())), "lethe", {"model.id": "x"})
    assert [dict(start.measured) for start in run.starts] == [{}, {"lethe": {"model.id": "x"}}]


def test_versions_hold_no_package_that_is_not_there() -> None:
    assert all(versions().values())


def test_a_party_cannot_hold_a_key() -> None:
    with pytest.raises(ValueError, match="key"):
        Party.model_validate({"name": "x", "role": "examined", "api_key": "sk-secret"})


def test_order_of_arrival_makes_no_difference(tmp_path: Path) -> None:
    finished(tmp_path, [contestant(Scripted("lethe", knows))])
    file = AnswersFile(answers_path(tmp_path, "lethe", "births"))
    before = file.read()
    path = answers_path(tmp_path, "lethe", "births")
    path.write_text("".join(f"{line}\n" for line in reversed(lines(tmp_path))))
    assert file.read() == before
