"""How many compilations stand where: numbers only, for metrics."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, func, or_, select

from service.store.database import Database
from service.store.job_rows import FAILED, UNDER_WAY
from service.store.schema import compilations


def count_jobs(database: Database) -> Mapping[tuple[str, str], int]:
    """Compilations by status and error: unfinished ones, and failed ones that nothing came after.

    Raises StoreUnavailable.
    """
    job = compilations.c
    counted = or_(job.status.in_(UNDER_WAY), and_(job.status == FAILED, _is_latest()))
    query = (
        select(job.status, job.error, func.count()).where(counted).group_by(job.status, job.error)
    )
    with database.reading() as connection:
        return {(status, error): int(n) for status, error, n in connection.execute(query)}


def _is_latest() -> Any:
    later = compilations.alias("later")
    same = later.c.forget_request == compilations.c.forget_request
    return ~select(later.c.seq).where(same, later.c.seq > compilations.c.seq).exists()
