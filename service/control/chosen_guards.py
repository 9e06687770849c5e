"""The guards that a forget request names, checked as far as they can be before they are needed."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from guards.needs import Capabilities
from guards.options import InvalidOption
from guards.points import Guard, InEngine
from guards.policy import GuardSpec
from guards.registry import GUARDS, build, guard_class
from guards.rules import Lack
from models.artifact import ArtifactStore, canonical_json
from service.admission import PREFIX, CheckedArtifacts, Refused
from service.control.forget_request import AskedGuard, ForgetRequest
from service.errors import ApiError, invalid, unavailable
from service.json_body import shown

TEXT_FILTER = "text_filter"
_OF_STRATEGIES = {
    "refuse": "refusal",
    "in_context_instruction": "in_context_instruction",
    "agent_rewrite": "agent_rewrite",
}


def chosen_guards(
    asked: ForgetRequest, artifacts: ArtifactStore, engine: Capabilities | None
) -> tuple[GuardSpec, ...] | None:
    """The policy's guards, the text filter last; None where the request leaves the choice to us.

    Raises ApiError: 400 naming the field, or 503 where it is not known yet what the engine can do.
    """
    named = asked.guards
    if named is not None and asked.strategy != "auto":
        raise invalid("guards", "'guards' needs the strategy 'auto'.", "invalid_value")
    if named is None:
        kind = _OF_STRATEGIES.get(asked.strategy)
        return None if kind is None else (GuardSpec(kind), GuardSpec(TEXT_FILTER))
    checked = CheckedArtifacts(artifacts)
    specs = [_spec(f"guards[{i}]", each, checked, engine) for i, each in enumerate(named)]
    return (*(s for s in specs if s.kind != TEXT_FILTER), GuardSpec(TEXT_FILTER))


def _spec(
    where: str, asked: AskedGuard, artifacts: CheckedArtifacts, engine: Capabilities | None
) -> GuardSpec:
    if asked.kind not in GUARDS:
        known = ", ".join(sorted(GUARDS))
        raise invalid(
            f"{where}.kind", f"Unknown guard: it must be one of {known}.", "unknown_guard"
        )
    guard = guard_class(asked.kind)
    spec = GuardSpec(asked.kind, asked.options)
    _check_options(f"{where}.options", guard, spec)
    if issubclass(guard, InEngine):
        _check_artifact(f"{where}.options.artifact", spec, artifacts)
    _check_engine(f"{where}.kind", asked.kind, guard, engine)
    return spec


def _check_options(where: str, guard: type[Guard], spec: GuardSpec) -> None:
    known: Mapping[str, Field[Any]] = {f.name: f for f in fields(guard)}  # type: ignore[arg-type]
    for name in spec.options:
        if name not in known:
            raise invalid(f"{where}.{shown(name)}", "Unknown field.", "unknown_field")
    for name, field in known.items():
        optional = field.default is not MISSING or field.default_factory is not MISSING
        if not optional and name not in spec.options:
            raise invalid(f"{where}.{name}", "This field is required.", "missing_field")
    try:
        TypeAdapter(guard).validate_json(canonical_json(dict(spec.options)), strict=True)
        build(spec)
    except ValidationError as error:
        raise _fault(where, error) from None
    except InvalidOption as error:
        raise _of_option(where, error) from None
    except (TypeError, ValueError):
        raise invalid(where, "These options do not fit this guard.", "invalid_value") from None


def _fault(where: str, error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_input=False)[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InvalidOption):
        return _of_option(where, cause)
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"][:1])
    message = str(first["msg"]).removeprefix("Value error, ")
    return invalid(
        where + path, f"Invalid value: {message[:1].lower()}{message[1:]}.", "invalid_value"
    )


def _of_option(where: str, error: InvalidOption) -> ApiError:
    return invalid(f"{where}.{error.option}", f"Invalid value: {error}.", "invalid_value")


def _check_artifact(where: str, spec: GuardSpec, artifacts: CheckedArtifacts) -> None:
    try:
        artifacts.get(spec.kind, spec.options["artifact"])
    except Refused as refused:
        words = str(refused).removeprefix(PREFIX).strip()
        raise invalid(where, f"{words[:1].upper()}{words[1:]}.", "invalid_artifact") from None


def _check_engine(where: str, kind: str, guard: type[Guard], engine: Capabilities | None) -> None:
    if not guard.NEEDS.points:
        return
    if engine is None:
        raise unavailable()  # no engine was reached yet: whether it can is not known
    lacking = engine.lacking(guard.NEEDS)
    if lacking:
        raise invalid(where, f"{Lack(kind, ' and '.join(lacking))}.", "engine_lacks")
