"""Faults in what goes to the engine, and in what is believed of its answers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from evals.faults.fault import Fault, instead, swap


class _OfTrust(Fault):
    LAYER = "T"


class _OfBody(Fault):
    LAYER = "R"


class SaltWithoutEdits(_OfBody):
    """See BROKEN."""

    NAME = "salt-without-edits"
    BROKEN = "the cache salt names the tenant only, so corrupted and clean prompts share a cache"

    def install(self) -> None:
        swap(
            "service.gateway.upstream_body:cache_salt",
            lambda salt: lambda key, tenant, _edits: salt(key, tenant, ()),
        )


class StreamsWithoutEdits(_OfBody):
    """See BROKEN."""

    NAME = "streams-without-edits"
    BROKEN = "no edits are sent with streamed requests"

    def install(self) -> None:
        def without(question: Callable[..., Any]) -> Callable[..., Any]:
            def wrong(source: Any, prepared: Any, n: int, room: int | None = None) -> Any:
                if source._generation.stream:  # noqa: SLF001
                    prepared = prepared._replace(case=replace(prepared.case, edits=()))
                return question(source, prepared, n, room)

            return wrong

        swap("service.gateway.source:Source._question", without)


class MiscountedPositions(Fault):
    """See BROKEN."""

    NAME = "positions-in-characters"
    BROKEN = "characters of the rendered prompt are taken for positions of tokens"
    LAYER = "R"

    def install(self) -> None:
        def as_tokens(_: Any) -> Callable[..., Any]:
            def wrong(prompt: Any, spans: Any) -> Any:
                size = len(prompt.ids)
                cut = ((min(s.start, size), min(s.end, size)) for s in spans)
                return tuple(type(s)(a, b) for s, (a, b) in zip(spans, cut, strict=True) if a < b)

            return wrong

        swap("guards.case:Prompt.positions", as_tokens)


class RenderedWithoutTools(Fault):
    """See BROKEN."""

    NAME = "another-prompt-classified"
    BROKEN = "the first message alone is rendered and classified, and another prompt is run"
    LAYER = "R"

    def install(self) -> None:
        def shortened(chat: Callable[..., Any]) -> Callable[..., Any]:
            def wrong(preparer: Any, request: Any, *given: Any) -> Any:
                first = replace(request, messages=request.messages[:1], tools=None)
                decided = chat(preparer, first, *given)
                whole = chat(preparer, request, *given)
                return whole._replace(
                    case=replace(
                        decided.case,
                        prompt=whole.case.prompt,
                        edits=tuple(
                            e
                            for e in decided.case.edits
                            if all(s.end <= len(whole.case.prompt.ids) for s in e.positions)
                        ),
                    )
                )

            return wrong

        swap("service.gateway.prepare:Preparer.chat", shortened)


class ProofUnchecked(_OfTrust):
    """See BROKEN."""

    NAME = "proof-unchecked"
    BROKEN = "answers of an engine that proves nothing are released"

    def install(self) -> None:
        instead("service.gateway.trust:EngineTrust.check", lambda _trust, _boot_id: None)
        instead("service.gateway.trust:EngineTrust.fault", property(lambda _trust: None))


class CanarySkipped(_OfTrust):
    """See BROKEN."""

    NAME = "canary-skipped"
    BROKEN = "an engine that proves the plugin is trusted without a look at whether edits act"

    def install(self) -> None:
        async def wrong(canary: Any) -> str:
            boot_id: str = await canary._check_refusal()  # noqa: SLF001
            return boot_id

        instead("service.gateway.canary:Canary._prove", wrong)


class _OfDoor(_OfTrust):
    PROCESS = "engine"


class UnsignedAccepted(_OfDoor):
    """See BROKEN."""

    NAME = "unsigned-accepted"
    BROKEN = "the engine answers whoever asks it without a gateway, once one gateway has asked"

    def install(self) -> None:
        def lenient(admitted: Callable[..., Any]) -> Callable[..., Any]:
            signed = [0]

            def wrong(admission: Any, body: Any, ids: Any) -> Any:
                if body.vllm_xargs is None and signed[0] > 20:
                    return ()
                signed[0] += 1
                return admitted(admission, body, ids)

            return wrong

        swap("service.local.generation:Admission._admitted", lenient)


class DigestUnchecked(_OfDoor):
    """See BROKEN."""

    NAME = "digest-unchecked"
    BROKEN = "the engine runs another prompt than the one that was signed"

    def install(self) -> None:
        instead("service.admission:check_prompt", lambda _signed, _ids: None)


class SaltUnchecked(_OfDoor):
    """See BROKEN."""

    NAME = "salt-unchecked"
    BROKEN = "the engine takes any cache salt, not only the signed one"

    def install(self) -> None:
        def lenient(admit: Callable[..., Any]) -> Callable[..., Any]:
            def wrong(value: Any, ids: Any, _salt: Any, key: Any, *rest: Any) -> Any:
                from guards.signed_edits import InvalidSignedEdits, SignedEdits

                try:
                    salt = SignedEdits.verify(value, key, 0.0).cache_salt
                except InvalidSignedEdits:
                    salt = ""
                return admit(value, ids, salt, key, *rest)

            return wrong

        swap("service.local.generation:admit", lenient)


class SignatureUnchecked(_OfDoor):
    """See BROKEN."""

    NAME = "signature-unchecked"
    BROKEN = "what is signed with another key is accepted"

    def install(self) -> None:
        instead("guards.signed_edits:SignedEdits.verify", staticmethod(_read_only))


class OldSignaturesAccepted(_OfDoor):
    """See BROKEN."""

    NAME = "old-signatures-accepted"
    BROKEN = "a signature that is over is accepted"

    def install(self) -> None:
        swap(
            "guards.signed_edits:SignedEdits.verify",
            lambda method: staticmethod(lambda value, key, _now: method.__func__(value, key, 0.0)),
        )


def _read_only(value: Any, _key: bytes, now: float) -> Any:
    from guards import signed_edits

    if not isinstance(value, str):
        raise signed_edits.InvalidSignedEdits("absent")
    signed = signed_edits._parse(signed_edits._decode(value.partition(".")[0]))  # noqa: SLF001
    if signed.expires < now:
        raise signed_edits.InvalidSignedEdits("expired")
    return signed
