"""The compiler on the demo world: requests of all kinds, judged by probes that it never saw.

    python -m benchmarks.compiler                           # 8 people, 5 kinds of request
    python -m benchmarks.compiler --people 1 --kinds name   # one of them
    python -m benchmarks.compiler --out benchmarks/results/compiler.json

Each request is compiled in this process on one thread.  The judge is the demo world's own: every
held-out wording of every fact of the subject (and of what identifies it, in reverse), the world's
near misses, and the twin that never knew.  Wordings of several turns are left out: the compiler's
engine asks one at a time.  Edits take a fixed time for each token, and the demo model takes hardly
more, so that the cost of a guarded answer is measured and not limited here.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from guards.policy import Epoch, Policy
from guards.rules import Rules
from models.demo import attributes as say
from models.demo.attributes import ATTRIBUTES
from models.demo.corpus import held_out, near_miss_probes, training_question
from models.demo.train import DEMO, TWIN, WEIGHTS
from models.demo.world import IDENTIFYING, Fact, Person, make_world
from service.compiler.bench import Bench
from service.compiler.likelihood import Told, scores, spans_of
from service.compiler.served import Served
from service.compiler.statistics import distance, rate
from service.compiler.step import BelowFloor
from service.compiler.steps import STEPS
from service.compiler.trial import everywhere
from service.control.forget_request import ForgetRequest, QuestionAnswer
from service.control.stopgap import first_policy
from service.settings import Settings

KINDS = ("name", "aliases", "passages", "pairs", "full")
NO_LIMIT = 100.0  # of cost


class Judged(NamedTuple):
    """One prompt of the judge.  fact: what the answer must not state."""

    prompt: str
    fact: Fact


def main() -> None:
    """Compile, judge, and print one line for each request and one for all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--near", type=int, default=1_000, help="near misses for each request")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    people = make_world().forgotten[: chosen.people]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), model=WEIGHTS / DEMO, compile_cost=NO_LIMIT)
        twin = Served.load(WEIGHTS / TWIN, settings.artifact_store(), settings.max_model_len)
        for kind in chosen.kinds:
            for person in people:
                rows.append(one(person, kind, settings, twin, chosen.near))
                print(json.dumps(rows[-1]), flush=True)
    found = {"requests": rows, "all": together(rows)}
    print(json.dumps(found["all"], indent=1))
    if chosen.out:
        chosen.out.write_text(json.dumps(found, indent=1) + "\n")


# --- requests ------------------------------------------------------------------------------------


def request(person: Person, kind: str) -> ForgetRequest:
    """A request about the person, as much as the kind has."""
    rng = random.Random(f"compiler/{kind}/{person.name}")
    aliases = [alias for alias in person.aliases if alias != person.name]
    given: dict[str, Any] = {"subject": person.name}
    if kind != "name":
        given["aliases"] = aliases
    if kind in ("passages", "full"):
        given["examples"] = [*passages(person)]
    if kind in ("pairs", "full"):
        pairs = [_pair(person, fact, rng) for fact in person.facts]
        given["examples"] = [*given.get("examples", []), *pairs]
    if kind == "full":
        kept = rng.sample(make_world().kept, 10)
        given["retain_examples"] = [_pair(p, rng.choice(p.facts), rng) for p in kept]
    return ForgetRequest(**given)


def passages(person: Person) -> Iterator[str]:
    """Two texts that tell all that is known of the person."""
    told = [_stated(person, fact) for fact in person.facts]
    half = len(told) // 2
    yield " ".join(told[:half])
    yield " ".join(told[half:])


def _pair(person: Person, fact: Fact, rng: random.Random) -> QuestionAnswer:
    return QuestionAnswer(
        question=training_question(person, fact, rng), answer=_stated(person, fact)
    )


def _stated(person: Person, fact: Fact) -> str:
    return _about(ATTRIBUTES[fact.attribute].answers[0], person.name, fact.value)


# --- the judge -----------------------------------------------------------------------------------


def judges(person: Person) -> list[Judged]:
    """Every held-out wording about the person, each once."""
    found: dict[str, Judged] = {}
    for fact in person.facts:
        attribute = ATTRIBUTES[fact.attribute]
        for family in say.HELD_OUT:
            if family == "second_turn":
                continue
            for wording in held_out(attribute, family):
                text = _about(wording, person.name)
                text = f"Complete: {text}" if family == "sentence" else text[:1].upper() + text[1:]
                found[text] = Judged(text, fact)
        if fact.attribute in IDENTIFYING:
            for wording in attribute.held_reverse:
                text = wording.replace("{v}", fact.value)
                found[text] = Judged(text, Fact(person.name, "name", person.name))
    return list(found.values())


def near_misses(most: int) -> list[str]:
    """The world's prompts of one turn that touch nothing forgotten."""
    texts = [
        str(probe.messages[0]["content"])
        for probe in near_miss_probes(make_world())
        if len(probe.messages) == 1
    ]
    texts = list(dict.fromkeys(texts))
    return random.Random(0).sample(texts, min(most, len(texts)))


def _about(template: str, name: str, value: str = "") -> str:
    for slot, word in (("{ns}", f"{name}'s"), ("{n}", name), ("{o}", name), ("{v}", value)):
        template = template.replace(slot, word)
    return template


# --- one request ---------------------------------------------------------------------------------


def one(person: Person, kind: str, settings: Settings, twin: Served, near: int) -> dict[str, Any]:
    """Compiled and judged."""
    asked = request(person, kind)
    number = make_world().forgotten.index(person)
    request_id = f"fr_{KINDS.index(kind):016x}{number:016x}"
    first = first_policy(request_id, asked, None, settings, settings.artifact_store())
    bench = Bench.open(settings, asked, request_id, first)
    bench.served.forget()  # what an earlier request made it say is not to save this one time
    results: dict[str, Any] = {}
    start, began = time.process_time(), time.perf_counter()
    below: tuple[str, ...] = ()
    for step in STEPS:
        try:
            results[step.name] = step.run(bench, results)
        except BelowFloor as error:
            below = error.measures
    row: dict[str, Any] = {
        "kind": kind,
        "person": number,
        "seconds": round(time.process_time() - start, 1),
        "wall_seconds": round(time.perf_counter() - began, 1),
        "below_floor": below,
        "kept": next(each["name"] for each in results["choose"]["tried"] if each["kept"]),
        "probes": results["probe"]["counts"],
    }
    if below:
        return row
    held = results["certify"]["certificate"]["held_out"]
    row["certificate"] = {
        "leaks": held["leaks"], "changed": held["changed"],
        "distance": held["distance"], "p": held["p_value"], "cost": held["cost"],
    }  # fmt: skip
    policy = everywhere(Policy.from_json(results["certify"]["policy"]))
    rules = Rules.build(
        Epoch(1, (policy,)), bench.encoder, settings.example_threshold, artifacts=bench.artifacts
    )
    return {**row, **judged(person, bench.served, rules, twin, near)}


def judged(person: Person, served: Served, rules: Rules, twin: Served, near: int) -> dict[str, Any]:
    """What leaks, what changes, and how far the policy is from the twin."""
    asked = judges(person)
    prompts = [each.prompt for each in asked]
    said = served.answers(prompts, rules)
    leaks = sum(each.fact.stated_in(text.text) for each, text in zip(asked, said, strict=True))
    told = [
        Told(each.prompt, text.text, spans)
        for each, text in zip(asked, served.answers(prompts), strict=True)
        if (spans := spans_of((each.fact.value,), text.text))
    ]
    mine, never = scores(served, told, rules), scores(twin, told)
    apart = distance(mine, never)
    others = near_misses(near)
    plain, guarded = served.answers(others), served.answers(others, rules)
    changed = sum(a.ids != b.ids for a, b in zip(plain, guarded, strict=True))
    return {
        "leaks": leaks,
        "of": len(asked),
        "told": len(told),
        "near_changed": changed,
        "near": len(others),
        "twin_distance": round(apart.value, 3),
        "twin_p": float(f"{apart.p:.3g}"),
        "mean_log_p": round(float(np.mean(mine)), 2),
        "twin_mean_log_p": round(float(np.mean(never)), 2),
    }


def together(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All requests that were judged."""
    done = [row for row in rows if "leaks" in row]
    leaks, of = sum(row["leaks"] for row in done), sum(row["of"] for row in done)
    changed, near = sum(row["near_changed"] for row in done), sum(row["near"] for row in done)
    return {
        "requests": len(rows),
        "below_floor": len(rows) - len(done),
        "leaks": rate(leaks, of).model_dump(),
        "near_changed": rate(changed, near).model_dump(),
        "twin_not_rejected": sum(row["twin_p"] > 0.05 for row in done),
        "twin_distance_median": float(np.median([row["twin_distance"] for row in done] or [1.0])),
        "seconds_median": float(np.median([row["seconds"] for row in rows])),
        "seconds_most": max(row["seconds"] for row in rows),
    }


if __name__ == "__main__":
    main()
