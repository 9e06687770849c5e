"""A forget request as the API takes it and gives it back."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
)

from service.control.compilation_view import CompilationView
from service.control.listing import Identified
from service.control.moment import moment
from service.control.subject import MAX_NAME, check_name
from service.store.forget_requests import ForgetRecord
from service.store.state import State

__all__ = ["ForgetRequest", "ForgetRequestView", "State", "moment"]

MAX_ALIASES = 64
MAX_EXAMPLES = 64
MAX_TEXT = 2_000
MAX_SCOPE = 64
LONGEST = timedelta(days=36_525)

MAX_GUARDS = 16

Strategy = Literal[
    "auto", "pretend_never_knew", "refuse", "in_context_instruction", "agent_rewrite"
]
Name = Annotated[str, Field(max_length=MAX_NAME), AfterValidator(check_name)]
RequestId = Annotated[str, StringConstraints(pattern=r"^fr_[0-9a-zA-Z_]{1,61}$")]
_IN_THE_CLEAR = {"expires_at", "strategy", "supersedes", "erase_content"}
Scoped = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$")]


def _text(value: str) -> str:
    if not any(char.isalnum() for char in value):
        raise ValueError("must contain letters or digits")
    if "\0" in value:
        raise ValueError("must not contain NUL")
    return value


Text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_text)]


def in_future(value: datetime) -> datetime:
    """The time, if it lies ahead.  Raises ValueError."""
    now = datetime.now(UTC)
    if not now < value <= now + LONGEST:
        raise ValueError("must lie in the future, at most 100 years ahead")
    return value


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class QuestionAnswer(_Closed):
    """A question that must be caught, and the answer that must not be given."""

    question: Text
    answer: Text


def _kind_of_example(value: Any) -> str:
    return "text" if isinstance(value, str) else "pair"


# Told apart before they are checked, so that an error is about the one that was meant.
Example = Annotated[
    Annotated[Text, Tag("text")] | Annotated[QuestionAnswer, Tag("pair")],
    Discriminator(_kind_of_example),
]


class Scope(_Closed):
    """Where a request applies; an empty list means everywhere."""

    tenants: list[Scoped] = Field(default_factory=list, max_length=MAX_SCOPE)
    models: list[Scoped] = Field(default_factory=list, max_length=MAX_SCOPE)


class AskedGuard(_Closed):
    """One guard, as its kind and its options; what those may be is the guard's own to say."""

    kind: Annotated[str, Field(min_length=1, max_length=64)]
    options: dict[str, Any] = Field(default_factory=dict)


class ForgetRequest(_Closed):
    """What is to be forgotten.  Unknown fields are refused."""

    subject: Name = Field(description="The name by which it is known.")
    aliases: list[Name] = Field(
        default_factory=list, max_length=MAX_ALIASES, description="Other names of it."
    )
    examples: list[Example] = Field(
        default_factory=list,
        max_length=MAX_EXAMPLES,
        description="Texts or questions like those to be caught when no name is in them.",
    )
    retain_examples: list[Example] = Field(
        default_factory=list,
        max_length=MAX_EXAMPLES,
        description="What must keep working; used when the policy is compiled.",
    )
    scope: Scope = Field(default_factory=Scope)
    legal_basis: Text | None = Field(None, description="For the record.")
    expires_at: Annotated[AwareDatetime, AfterValidator(in_future)] | None = Field(
        None, description="When to stop forgetting: RFC 3339 with offset, or Unix seconds."
    )
    strategy: Strategy = "auto"
    guards: Annotated[list[AskedGuard], Field(max_length=MAX_GUARDS)] | None = Field(
        None, description="Exactly these, and the text filter; null: as the strategy says."
    )
    supersedes: RequestId | None = Field(
        None, description="A request in force that this one takes over from, in one epoch."
    )
    erase_content: bool = Field(
        default=False,
        description="Erase what was asked as soon as the compiled policy is in force everywhere.",
    )

    def content(self) -> dict[str, Any]:
        """What the store seals: everything but what it needs in the clear."""
        return self.model_dump(mode="json", exclude=_IN_THE_CLEAR)

    @property
    def compilable(self) -> bool:
        """Whether a policy is compiled; where guards are named, those are the policy."""
        return self.guards is None and self.strategy in ("auto", "pretend_never_knew")

    @property
    def names(self) -> tuple[str, ...]:
        """Subject and aliases, the subject first, each once."""
        return tuple(dict.fromkeys((self.subject, *self.aliases)))

    @property
    def example_texts(self) -> tuple[str, ...]:
        """What a prompt is compared with.  Of a pair the question: prompts are like questions."""
        texts = (e if isinstance(e, str) else e.question for e in self.examples)
        return tuple(dict.fromkeys(texts))


class Enforced(BaseModel):
    """epoch: from which on the present state holds.  since: when that was known everywhere."""

    epoch: int
    since: datetime | None


class ForgetRequestView(Identified):
    """A stored request.  Once it is over or erased, nothing of what was asked is left: null.

    compilation: null where none is due.
    """

    object: Literal["forget_request"] = "forget_request"
    state: State
    subject: str | None = None
    aliases: list[str] | None = None
    examples: list[Example] | None = None
    retain_examples: list[Example] | None = None
    scope: Scope | None = None
    legal_basis: str | None = None
    guards: list[AskedGuard] | None = None
    strategy: str
    policy: str | None = Field(description="Digest of the policy that enforces, or enforced, it.")
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime
    enforced: Enforced
    supersedes: str | None = None
    superseded_by: str | None = None
    erase_content: bool = False
    erased_at: datetime | None = None
    compilation: CompilationView | None = None

    @staticmethod
    def of(record: ForgetRecord, compilation: CompilationView | None = None) -> "ForgetRequestView":
        """The view of a stored record."""
        return ForgetRequestView(
            **(record.content or {}),
            id=record.id,
            state=record.state,
            strategy=record.strategy,
            policy=record.policy,
            expires_at=moment(record.expires_at),
            created_at=moment(record.created_at),
            updated_at=moment(record.updated_at),
            enforced=Enforced(epoch=record.epoch, since=moment(record.enforced_at)),
            supersedes=record.supersedes,
            superseded_by=record.superseded_by,
            erase_content=record.erase,
            erased_at=moment(record.erased_at),
            compilation=compilation,
        )


def unix_ms(value: datetime | None) -> int | None:
    """A time of the API as it is stored."""
    return None if value is None else round(value.timestamp() * 1000)
