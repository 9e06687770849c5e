"""Fits are done once, known again by what they were made of, and carried whole."""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals.knowledge import Fact, Knowledge, Split, Subject
from evals.methods.ground import Ground
from evals.methods.kept import Fit, Kept, specs
from evals.methods.material import Material
from evals.methods.method import Method, Requests
from guards.policy import GuardSpec
from models.artifact import ArtifactCorrupt, ArtifactStore

FORGET = Fact(subject="ade", question="Where was Vorn Ade born?", answer="In Dunmere.")
KNOWN = Knowledge(
    source="here",
    subjects={"ade": Subject(aliases=("Vorn Ade",)), "low": Subject(aliases=("Ina Low",))},
    forgotten=("ade",),
    splits={
        "forget": Split(facts=(FORGET,)),
        "retain": Split(facts=(Fact(subject="low", question="Who?", answer="Ina Low."),)),
    },
)


@dataclass
class Fitting:
    """Methods by name, and how often each was fitted."""

    methods: dict[str, Method] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def add(self, name: str, requests: Callable[[Material], Requests], **settings: Any) -> None:
        def counted(material: Material) -> Requests:
            self.done.append(name)
            return requests(material)

        self.methods[name] = Method(source="a paper", requests=counted, settings=settings)


@pytest.fixture
def fitting(monkeypatch: pytest.MonkeyPatch) -> Fitting:
    made = Fitting()
    monkeypatch.setattr("evals.methods.kept.method_named", made.methods.__getitem__)
    return made


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground("small", model(tmp_path / "model", b"weights"), tmp_path / "none", KNOWN)


def model(folder: Path, weights: bytes) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def sealed(material: Material) -> Requests:
    """An artifact that tells a name, and one that is made on the way and named by nobody."""
    material.put({"kind": "draft"}, {"rows": np.zeros(2)})
    manifest = {"kind": "noise", "blind": secrets.token_hex(32)}
    digest = material.put(manifest, {"rows": np.arange(3)}, sealed=True)
    return {label: (GuardSpec("noise", {"artifact": digest}),) for label in material.forgotten}


def with_fact(known: Knowledge, split: str, facts: Iterable[Fact]) -> Knowledge:
    return known.model_copy(update={"splits": {**known.splits, split: Split(facts=tuple(facts))}})


def test_a_fit_is_done_once_and_read_from_the_folder_after_that(
    fitting: Fitting, ground: Ground, tmp_path: Path
) -> None:
    fitting.add("one", sealed, strength=2.0)
    first = Kept(tmp_path / "fits").fitted("one", ground)
    again = Kept(tmp_path / "fits").fitted("one", ground)
    assert again == first
    assert fitting.done == ["one"]
    assert (first.method, first.ground, first.settings) == ("one", "small", {"strength": 2.0})
    [file] = (tmp_path / "fits").glob("one-*.json")
    assert Fit.model_validate_json(file.read_text()) == first
    assert "Vorn" not in file.read_text()


@pytest.mark.parametrize(
    "other",
    [
        lambda g, _: replace(g, knowledge=with_fact(g.knowledge, "forget", [])),
        lambda g, _: replace(g, knowledge=with_fact(g.knowledge, "retain", [FORGET])),
        lambda g, _: replace(g, knowledge=KNOWN.model_copy(update={"forgotten": ("ade", "low")})),
        lambda g, _: replace(
            g,
            knowledge=KNOWN.model_copy(
                update={"subjects": {**KNOWN.subjects, "low": Subject(aliases=("I. Low",))}}
            ),
        ),
        lambda g, folder: replace(g, model=model(folder / "other", b"other weights")),
    ],
    ids=["forget", "retain", "who is forgotten", "names", "weights"],
)
def test_what_a_fit_is_made_of_makes_it_another(
    fitting: Fitting, ground: Ground, tmp_path: Path, other: Callable[[Ground, Path], Ground]
) -> None:
    fitting.add("one", lambda _: {})
    kept = Kept(tmp_path / "fits")
    first = kept.fitted("one", ground)
    second = kept.fitted("one", other(ground, tmp_path))
    assert first.key != second.key
    assert fitting.done == ["one", "one"]


def test_settings_make_it_another(fitting: Fitting, ground: Ground, tmp_path: Path) -> None:
    kept, keys = Kept(tmp_path / "fits"), set()
    for strength in (1.0, 2.0):
        fitting.add("one", lambda _: {}, strength=strength)
        keys.add(kept.fitted("one", ground).key)
    assert len(keys) == len(fitting.done) == 2


def test_what_is_only_measured_with_does_not(
    fitting: Fitting, ground: Ground, tmp_path: Path
) -> None:
    fitting.add("one", lambda _: {})
    kept = Kept(tmp_path / "fits")
    first = kept.fitted("one", ground)
    worded = FORGET.model_copy(update={"paraphrased": ("From where is he?",), "wrong": ("Oslo.",)})
    known = with_fact(with_fact(KNOWN, "forget", [worded]), "holdout", [FORGET])
    renamed = replace(ground, name="another", never_knew=tmp_path, knowledge=known)
    assert kept.fitted("one", renamed) == first
    assert fitting.done == ["one"]


def test_only_artifacts_that_a_request_names_are_kept_of_a_fit(
    fitting: Fitting, ground: Ground, tmp_path: Path
) -> None:
    fitting.add("one", sealed)
    fit = Kept(tmp_path / "fits").fitted("one", ground)
    [guards] = fit.requests.values()
    assert guards is not None
    assert fit.artifacts == (guards[0].options["artifact"],)
    assert specs(guards) == (GuardSpec("noise", {"artifact": fit.artifacts[0]}),)


def test_where_no_request_names_any_all_that_were_made_are(
    fitting: Fitting, ground: Ground, tmp_path: Path
) -> None:
    def stop_gap(material: Material) -> Requests:
        material.put({"kind": "table"}, {"rows": np.ones(2)})
        return dict.fromkeys(material.forgotten)

    fitting.add("one", stop_gap)
    fit = Kept(tmp_path / "fits").fitted("one", ground)
    assert fit.requests == {"ade": None}
    assert len(fit.artifacts) == 1


def test_a_carried_artifact_is_sealed_under_the_other_stores_key(
    fitting: Fitting, ground: Ground, tmp_path: Path
) -> None:
    fitting.add("one", sealed)
    kept = Kept(tmp_path / "fits")
    fit = kept.fitted("one", ground)
    there = ArtifactStore(tmp_path / "there", secrets.token_bytes(32))
    kept.carry(fit, there)
    [digest] = fit.artifacts
    assert there.open(digest).tensors["rows"].tolist() == [0, 1, 2]
    assert there.open(digest).manifest == kept.store.open(digest).manifest
    stranger = ArtifactStore(tmp_path / "there", secrets.token_bytes(32))
    with pytest.raises(ArtifactCorrupt):
        stranger.open(digest)


def test_a_method_made_of_another_takes_the_others_kept_fit(
    fitting: Fitting, ground: Ground, tmp_path: Path
) -> None:
    fitting.add("base", sealed)

    def on_top(material: Material) -> Requests:
        return {
            label: (*specs(guards or ()), GuardSpec("more", {}))
            for label, guards in material.fitted("base").requests.items()
        }

    fitting.add("top", on_top)
    kept = Kept(tmp_path / "fits")
    fit = kept.fitted("top", ground)
    base = kept.fitted("base", ground)
    assert fitting.done == ["top", "base"]
    assert fit.artifacts == base.artifacts
    assert [guard.kind for guard in fit.requests["ade"] or ()] == ["noise", "more"]
