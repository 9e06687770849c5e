"""The tables of keys, and of which artifacts policies name."""

from sqlalchemy import BigInteger, Column, LargeBinary, String, Table

from service.store.schema import _DIGEST, _ID, _SEQUENCE, metadata

master_keys = Table(
    "master_keys",
    metadata,
    Column("number", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("id", _ID, nullable=False, unique=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

data_keys = Table(
    "data_keys",
    metadata,
    Column("owner", _ID, primary_key=True),
    Column("master", _ID, nullable=False, index=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

named_artifacts = Table(
    "named_artifacts",
    metadata,
    Column("policy", _DIGEST, primary_key=True),
    Column("artifact", _DIGEST, primary_key=True, index=True),
    Column("forget_request", String(64), nullable=False, index=True),
    # The epoch from which on the policy is not in force any longer; NULL while it is.
    Column("dropped_epoch", BigInteger, index=True),
)
