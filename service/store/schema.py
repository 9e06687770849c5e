"""The tables.  Times are whole milliseconds of Unix time; every secret text is sealed.

A change here needs a migration beside it: a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
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
    Column("enforced_at", BigInteger),
    Column("expires_at", BigInteger, index=True),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("created_by", _ID, nullable=False),
    # Keyed hashes: of the client's idempotency key, and of the body that it came with.
    Column("idempotency", String(64), unique=True),
    Column("fingerprint", String(64)),
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
