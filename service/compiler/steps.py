"""The steps of a compilation, in their order."""

import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from guards.normaliser import VERSION as NORMALISER
from guards.policy import GuardSpec, Policy
from models.encoder import FORMAT as ENCODER
from models.fitting.detector import fit
from service.compiler.auto import Auto, Budget, with_guards
from service.compiler.bench import Bench
from service.compiler.candidates.candidate import Ground
from service.compiler.certificate import Certificate, Measures, Tried
from service.compiler.elicit import elicit
from service.compiler.inventing import Inventor
from service.compiler.keeping import facts_of, probes_of, put_facts, put_probes
from service.compiler.probe import Probe, ProbeSet, Use
from service.compiler.probes import build
from service.compiler.signing import signing_key, store
from service.compiler.step import BelowFloor, Results, Step
from service.compiler.surrogate import Surrogate
from service.compiler.trial import Sheet, Trial
from service.settings import Settings

__all__ = ["STEPS", "BelowFloor", "Step"]

_PACKAGES = ("torch", "transformers", "numpy", "scipy", "onnxruntime")


def _elicit(bench: Bench, results: Results) -> dict[str, Any]:
    del results
    facts = elicit(bench.served, bench.material, bench.seed)
    return {"facts": put_facts(facts, bench.artifacts), "count": len(facts)}


def _probe(bench: Bench, results: Results) -> dict[str, Any]:
    facts = facts_of(results["elicit"]["facts"], bench.artifacts)
    found = build(bench.served, bench.material, facts, bench.seed)
    counts = {
        use.value: [len(found.of(use, about=True)), len(found.of(use, about=False))] for use in Use
    }
    return {"probes": put_probes(found, bench.artifacts), "counts": counts}


def _detect(bench: Bench, results: Results) -> dict[str, Any]:
    probes = probes_of(results["probe"]["probes"], bench.artifacts)
    about, others = (probes.of(Use.FIT, about=about) for about in (True, False))
    manifest, tensors = fit(
        bench.material.names,
        [text for probe in about for text in _texts(probe)],
        [text for probe in others for text in _texts(probe)],
        [probe.prompt for probe in probes.of(Use.CALIBRATE, about=True)],
        [probe.prompt for probe in probes.of(Use.CALIBRATE, about=False)],
        bench.encoder,
        bench.settings.compile_error,
    )
    digest = bench.put(manifest, tensors)
    return {"detector": digest, "calibration": manifest["calibration"]}


def _texts(probe: Probe) -> list[str]:
    # Answers too: later questions use their words.
    return [probe.prompt, f"{probe.prompt} {probe.answer}"] if probe.answer else [probe.prompt]


def _choose(bench: Bench, results: Results) -> dict[str, Any]:
    work = _Work(bench, results)
    settings = bench.settings
    budget = Budget(settings.floor_changed_upper, settings.compile_cost)
    chosen = Auto(work.trial, work.policy, work.sheet(Use.CALIBRATE), budget).choose(work.ground())
    return {
        "guards": [{"kind": g.kind, "options": dict(g.options)} for g in chosen.candidate.guards],
        "tried": [each.model_dump(mode="json") for each in chosen.tried],
    }


def _certify(bench: Bench, results: Results) -> dict[str, Any]:
    start = time.process_time()
    work = _Work(bench, results)
    guards = tuple(GuardSpec(g["kind"], g["options"]) for g in results["choose"]["guards"])
    policy = with_guards(work.policy, guards)
    measures = work.trial.measures(policy, work.sheet(Use.HELD_OUT))
    if below := below_floor(measures, bench.settings):
        raise BelowFloor(below)
    certificate = Certificate(
        policy=policy.digest,
        model=bench.served.digest,
        versions=_versions(),
        seed=bench.seed,
        held_out=measures,
        tried=tuple(Tried.model_validate(each) for each in results["choose"]["tried"]),
        router=dict(results["detect"]["calibration"]),
        made_at=round(time.time()),
        seconds=sum(each["seconds"] for each in results.values()) + time.process_time() - start,
    )
    digest = store(certificate, signing_key(bench.settings.data_dir), bench.artifacts)
    return {
        "policy": replace(policy, certificate=digest).to_json(),
        "certificate": certificate.model_dump(mode="json"),
    }


def below_floor(found: Measures, settings: Settings) -> tuple[str, ...]:
    """Names of the measures that are worse than the operator allows; nobody's cost is a floor."""
    floors = {
        "leaks": found.leaks.upper > settings.floor_leak_upper,
        "changed": found.changed.upper > settings.floor_changed_upper,
    }
    return tuple(name for name, below in floors.items() if below)


class _Work:
    """What the last two steps share, made anew from what the first ones left."""

    def __init__(self, bench: Bench, results: Results) -> None:
        self._bench = bench
        self._facts = facts_of(results["elicit"]["facts"], bench.artifacts)
        self._probes: ProbeSet = probes_of(results["probe"]["probes"], bench.artifacts)
        self.policy: Policy = replace(
            bench.first, guards=(), detector=results["detect"]["detector"], certificate=None
        )
        self._surrogate = Surrogate(bench.served, bench.material, self._facts, bench.seed)
        self.trial = Trial(
            bench.served,
            self._surrogate,
            bench.encoder,
            bench.artifacts,
            bench.settings.example_threshold,
        )
        self._inventor = Inventor(bench.served, self._surrogate, bench.seed)

    def sheet(self, use: Use) -> Sheet:
        """Probes of one use, about the subject and near."""
        about, near = (self._probes.of(use, about=each) for each in (True, False))
        return self.trial.sheet(about, near, self._inventor)

    def ground(self) -> Ground:
        """What candidates are fitted with."""
        bench = self._bench
        return Ground(
            served=bench.served,
            surrogate=self._surrogate,
            artifacts=bench.artifacts,
            names=bench.material.names,
            sheet=self.sheet(Use.FIT),
            rules=lambda guards: self.trial.rules(with_guards(self.policy, guards)),
            function=bench.settings.stopgap_function,
            strength=bench.settings.stopgap_strength,
            seed=bench.seed,
        )


def _versions() -> dict[str, str]:
    found = {name: version(name) for name in _PACKAGES}
    return {**found, "encoder": ENCODER, "normaliser": str(NORMALISER), "lethe": version("lethe")}


def _timed(run: Callable[[Bench, Results], dict[str, Any]]) -> Callable[[Bench, Results], Any]:
    """The same, with the processor time that it took in its result."""

    def timed(bench: Bench, results: Results) -> dict[str, Any]:
        start = time.process_time()
        found = run(bench, results)
        return {**found, "seconds": time.process_time() - start}

    return timed


STEPS: tuple[Step, ...] = (
    Step("elicit", 0.2, _timed(_elicit)),
    Step("probe", 0.2, _timed(_probe)),
    Step("detect", 0.1, _timed(_detect)),
    Step("choose", 0.4, _timed(_choose)),
    Step("certify", 0.1, _certify),
)
