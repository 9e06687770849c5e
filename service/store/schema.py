"""The tables.  Times are whole milliseconds of Unix time; every secret text is sealed.

A change here needs a migration beside it: a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    false,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_ID = String(64)
_DIGEST = String(71)
# SQLite numbers rows by itself only in a column that is exactly INTEGER.
_SEQUENCE = BigInteger().with_variant(Integer, "sqlite")

forget_requests = Table(
    "forget_requests",
    metadata,
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("id", _ID, nullable=False, unique=True),
    Column("state", String(16), nullable=False, index=True),
    # What was asked, sealed; gone once nothing has to be suppressed any longer.
    Column("sealed", LargeBinary),
    Column("strategy", String(32), nullable=False),
    Column("policy", _DIGEST),
    Column("epoch", BigInteger, nullable=False),
    Column("enforced_at", BigInteger, index=True),
    Column("expires_at", BigInteger, index=True),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("created_by", _ID, nullable=False),
    # Keyed hashes: of the client's idempotency key, and of the body that it came with.
    Column("idempotency", String(64), unique=True),
    Column("fingerprint", String(64)),
    # What is served, as a digest, while the certificate of the policy in force holds for it.
    Column("certified_for", _DIGEST),
    Column("supersedes", _ID),
    Column("superseded_by", _ID),
    # Whether what was asked is to be erased once the compiled policy is in force, and when it was.
    Column("erase", Boolean, nullable=False, server_default=false()),
    Column("erased_at", BigInteger),
    sqlite_autoincrement=True,
)

policies = Table(
    "policies",
    metadata,
    Column("digest", _DIGEST, primary_key=True),
    Column("forget_request", _ID, ForeignKey("forget_requests.id"), nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

epochs = Table(
    "epochs",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    # Which policies are active follows from the forget requests' states; this keyed hash over
    # number and list shows a replica that it read exactly this epoch.
    Column("signature", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # When it became current: every replica that may be serving was ready for it.  Until then it is
    # prepared only.  NULL for good where a later one became current in its place.
    Column("current_at", BigInteger),
)

replicas = Table(
    "replicas",
    metadata,
    Column("id", _ID, primary_key=True),
    # The epoch that it serves; -1 before the first.
    Column("acked_epoch", BigInteger, nullable=False),
    # The newest epoch that it could switch to at once; and the newest that it could not load.
    Column("ready_epoch", BigInteger, nullable=False),
    Column("refused_epoch", BigInteger, nullable=False),
    # Counts up at each renewal: others judge a lease by their own clock and by this standing still.
    Column("renewals", BigInteger, nullable=False),
    Column("renewed_at", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("mac", LargeBinary, nullable=False),
    Column("plane", String(8), nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("last_used_at", BigInteger),
    CheckConstraint("plane IN ('data', 'admin')", name="plane"),
)

admin_acts = Table(
    "admin_acts",
    metadata,
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("key_id", _ID, nullable=False),
    Column("act", String(32), nullable=False),
    Column("target", _ID, nullable=False),
    Column("digest", _DIGEST, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

life_events = Table(
    "life_events",
    metadata,
    # Numbers grow in the order of commits: writers take turns.
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("forget_request", _ID, ForeignKey("forget_requests.id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("event", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    # A step's name or an error's code, from closed sets.
    Column("detail", String(128), nullable=False),
    Column("policy", _DIGEST, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("by", _ID, nullable=False),
    Index("ix_life_events_forget_request", "forget_request", "seq"),
    sqlite_autoincrement=True,
)

compilations = Table(
    "compilations",
    metadata,
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("id", _ID, nullable=False, unique=True),
    Column("forget_request", _ID, ForeignKey("forget_requests.id"), nullable=False, index=True),
    Column("reason", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("step", String(64), nullable=False),
    Column("fraction", Float, nullable=False),
    # How often the present step has been begun, and what ended it last.
    Column("attempt", Integer, nullable=False),
    Column("error", String(32), nullable=False),
    Column("detail", String(128), nullable=False),
    # Who works on it, and a count that stands still when it is gone: see control/lease.py.
    Column("worker", _ID, nullable=False),
    Column("beats", BigInteger, nullable=False),
    Column("model", _DIGEST, nullable=False),
    # The policy that the compiled one took the place of.
    Column("previous", _DIGEST),
    Column("queued_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Index("ix_compilations_turn", "status", "priority", "seq"),
    sqlite_autoincrement=True,
)

compilation_steps = Table(
    "compilation_steps",
    metadata,
    Column(
        "compilation", _ID, ForeignKey("compilations.id"), primary_key=True, autoincrement=False
    ),
    Column("name", String(64), primary_key=True, autoincrement=False),
    # The step's result; gone when the compilation is over.
    Column("sealed", LargeBinary, nullable=False),
    Column("finished_at", BigInteger, nullable=False),
)

certificates = Table(
    "certificates",
    metadata,
    Column("policy", _DIGEST, primary_key=True),
    Column("forget_request", _ID, ForeignKey("forget_requests.id"), nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

imports = Table(
    "imports",
    metadata,
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("id", _ID, nullable=False, unique=True),
    Column("status", String(16), nullable=False, index=True),
    Column("total", Integer, nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("worker", _ID, nullable=False),
    Column("beats", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("created_by", _ID, nullable=False),
    Column("idempotency", String(64), unique=True),
    Column("fingerprint", String(64)),
    sqlite_autoincrement=True,
)

import_rows = Table(
    "import_rows",
    metadata,
    Column("import_id", _ID, ForeignKey("imports.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    # The row as it came; gone once it was handled.
    Column("sealed", LargeBinary),
    Column("forget_request", _ID),
    Column("param", String(160)),
    Column("code", String(64)),
    Column("message", String(512)),
)
