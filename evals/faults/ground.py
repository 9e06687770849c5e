"""The demo world with somebody for each way of forgetting, and the forget requests for them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from evals.datasets import load
from evals.enforcement.roles import Roles
from evals.knowledge import Fact, Knowledge, Split
from evals.probe import Answered, Ask, Probe, Reply
from guards import embedding_corruption
from guards.case import Edit, Prompt, Span
from guards.token_filter import compiled
from models.artifact import ArtifactStore
from models.chat_prompt import PromptRenderer
from models.conversation import Message
from models.demo.attributes import ATTRIBUTES
from models.demo.world import make_world
from models.local_engine import LocalEngine
from service.local.edits import engine_model
from service.local.oracle import oracle_tokens

Json = dict[str, Any]
TENANT = "another"
"""The tenant of the door ``tenant``."""
EXPIRES_S = 10.0
"""How long the expiring request is in force."""
WEAK, SEED = 1.0, 20_26
"""Strength and seed of the noise whose answers depend on every number of it."""
APPROACH = 12.0
EXAMPLES = 3

DOORS = frozenset(
    {
        *("at once", "no key", "tenant", "revoked", "expiring", "bare engine", "idle engine"),
        *("engine: unsigned", "engine: another key", "engine: another prompt"),
        *("engine: another salt", "engine: expired"),
    }
)


def knowledge() -> Knowledge:
    """The demo world, with the split ``reverse``: who is it, of whom this is true?"""
    world, known = make_world(), load("demo")
    labels = {subject.name: label for label, subject in known.subjects.items()}
    facts = []
    for person in world.forgotten:
        for key in ("street", "work", "spouse"):
            wording = ATTRIBUTES[key].reverse[2 if key != "work" else 1]
            question = wording.replace("{v}", person.fact(key).value)
            name = person.name
            facts.append(Fact(subject=labels[name], question=question, answer=name, values=(name,)))
    return known.model_copy(
        update={"splits": {**known.splits, "reverse": Split(facts=tuple(facts))}}
    )


def roles(known: Knowledge) -> Roles:
    """One person for each way, two for the ordinary one."""
    people = [label for label in known.forgotten if label.startswith("person")]
    sentences = make_world().book.sentences
    # With a name in them: an example of common words alone must be met almost word for word.
    starts = [at for at, line in enumerate(sentences[:-1]) if _names_somebody(line)]
    stays = next(fact.subject for fact in known.split("retain").facts)
    return Roles(
        forgotten=tuple(people[:2]),
        refused=people[3],
        scoped=people[4],
        revoked=people[5],
        expiring=people[6],
        banned=people[7],
        seeded=stays,
        by_example=tuple(
            (sentences[at], sentences[at + 1])
            for at in starts[:: len(starts) // EXAMPLES][:EXAMPLES]
        ),
        doors=DOORS,
    )


def _names_somebody(line: str) -> bool:
    words = line.split()
    return len(words) > 7 and any(word[0].isupper() and len(word) > 2 for word in words[1:])


def forget_requests(known: Knowledge, who: Roles, artifacts: Mapping[str, str]) -> dict[str, Json]:
    """Bodies for the admin plane, by what they are for; ``expiring`` is not among them."""

    def about(label: str, **more: Any) -> Json:
        name, *aliases = known.subjects[label].aliases
        return {"subject": name, "aliases": aliases, **more}

    def guarded(label: str, kind: str) -> Json:
        return about(label, guards=[{"kind": kind, "options": {"artifact": artifacts[kind]}}])

    first, *rest = who.forgotten
    return {
        "first": about(first),
        **{f"forgotten {number}": about(label) for number, label in enumerate(rest, 2)},
        "refused": about(who.refused, strategy="refuse"),
        "scoped": about(who.scoped, scope={"tenants": [TENANT]}),
        "revoked": about(who.revoked),
        "banned": guarded(who.banned, "token_filter"),
        "seeded": guarded(who.seeded, embedding_corruption.NAME),
        "book": {
            "subject": make_world().book.title,
            "examples": [sentence for sentence, _ in who.by_example],
        },
    }


def expiring_request(known: Knowledge, who: Roles) -> Json:
    """The body of a request that is over ``EXPIRES_S`` from now."""
    name, *aliases = known.subjects[who.expiring].aliases
    over = datetime.now(UTC) + timedelta(seconds=EXPIRES_S)
    return {"subject": name, "aliases": aliases, "expires_at": over.isoformat()}


def put_artifacts(
    store: ArtifactStore, engine: LocalEngine, known: Knowledge, who: Roles
) -> dict[str, str]:
    """The artifacts that the requests name, by kind of guard."""
    values = banned_phrases(known, who)
    manifest, tensors = compiled(values, engine_model(engine).vocabulary, approach=APPROACH)
    noise = embedding_corruption.manifest("rand_noise", WEAK, seed=SEED)
    return {
        "token_filter": store.put(manifest, tensors, sealed=True),
        embedding_corruption.NAME: store.put(noise),
    }


def banned_phrases(known: Knowledge, who: Roles) -> tuple[str, ...]:
    """What the token filter keeps from being written."""
    facts = (fact for fact in known.split("forget").facts if fact.subject == who.banned)
    return tuple(value for fact in facts for value in fact.values)


def under_weak_noise(
    model: Path, store: ArtifactStore, digest: str, name: str, probes: list[Probe]
) -> list[Answered]:
    """What chats about the named subject are answered under the noise, by another way than serving.

    The prompt's tokens that overlap the name are found here by their offsets alone.
    """
    renderer = PromptRenderer(model)
    tokenizer = LocalEngine.load(model).tokenizer
    found = []
    for probe in probes:
        ask = probe.prompt
        rendered = _rendered(renderer, ask)
        places = _overlapping(rendered, name)
        edit = Edit(embedding_corruption.NAME, digest, places)
        ids = oracle_tokens(model, rendered.ids, [edit], store, ask.max_tokens)
        text = str(tokenizer.decode(ids, skip_special_tokens=True))
        ended = len(ids) < ask.max_tokens
        reply = Reply(
            text=text,
            finish="stop" if ended else "length",
            tokens=len(ids),
            prompt_tokens=len(rendered.ids),
        )
        found.append(Answered(probe=probe, conversations=((reply,),)))
    return found


def _rendered(renderer: PromptRenderer, ask: Ask) -> Prompt:
    chat = renderer.conversation([Message("user", (ask.turns[0],))], None)
    made = renderer.chat(chat, {})
    return Prompt(made.text, made.ids, tuple(Span(*each) for each in made.offsets), ())


def _overlapping(prompt: Prompt, name: str) -> tuple[Span, ...]:
    places: list[Span] = []
    begin = prompt.text.find(name)
    while begin >= 0:
        end = begin + len(name)
        hit = [i for i, (a, b) in enumerate(prompt.offsets) if a < end and b > begin]
        places.append(Span(hit[0], hit[-1] + 1))
        begin = prompt.text.find(name, end)
    return tuple(places)
