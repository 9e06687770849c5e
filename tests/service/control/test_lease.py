"""Leases: whoever is declared dead has stopped serving before."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from service.control.lease import Lease, LeaseWatch, margin, steady
from service.store.epochs import Standing
from service.store.replicas import Renewal, ReplicaRow, Report
from service.store.store import Store

BACKENDS = ("sqlite", "postgresql")
LEASE_S = 2.0


class Table:
    """The table of replicas, with one row that is renewed by hand."""

    def __init__(self) -> None:
        self.renewals = 1
        self.removed = False

    def all(self) -> tuple[ReplicaRow, ...]:
        return () if self.removed else (ReplicaRow("rep_a", 1, self.renewals),)

    def remove(self, dead: ReplicaRow) -> bool:
        self.removed = self.removed or dead.renewals == self.renewals
        return self.removed


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


steps = st.lists(
    st.tuples(
        st.sampled_from(["renew", "look", "wait"]),
        st.floats(0, 3),
        st.floats(0.91, 1.0),
    ),
    max_size=40,
)


@given(steps)
def test_a_replica_is_only_removed_after_its_lease_has_run_out(
    schedule: list[tuple[str, float, float]],
) -> None:
    # Their clock goes slower than ours, by less than the tenth that the margin allows for.
    ours, theirs, table = Hands(), Hands(), Table()
    lease = Lease(LEASE_S, theirs)
    watch = LeaseWatch(table, LEASE_S, ours)  # type: ignore[arg-type]
    lease.renewed(theirs())
    for act, seconds, rate in schedule:
        if act == "renew" and not table.removed:
            started = theirs()
            ours.now += seconds  # the write takes its time
            theirs.now += seconds * rate
            table.renewals += 1
            lease.renewed(started)
        elif act == "look":
            watch.living()
        else:
            ours.now += seconds
            theirs.now += seconds * rate
        assert not (table.removed and lease.held)


def test_a_replica_that_stands_still_is_removed_once_lease_and_margin_have_passed() -> None:
    ours, table = Hands(), Table()
    watch = LeaseWatch(table, LEASE_S, ours)  # type: ignore[arg-type]
    assert watch.living()
    ours.now = LEASE_S + margin(LEASE_S) - 0.01
    assert watch.living()
    ours.now = LEASE_S + margin(LEASE_S)
    assert not watch.living()
    assert table.removed


def test_one_that_renews_while_it_is_judged_is_still_waited_for() -> None:
    ours, table = Hands(), Table()

    class Slow(Table):
        """Renewed right after each read, while the reader is kept waiting."""

        def all(self) -> tuple[ReplicaRow, ...]:
            rows = table.all()
            table.renewals += ours.now > 0
            return rows

        def remove(self, dead: ReplicaRow) -> bool:
            return table.remove(dead)

    watch = LeaseWatch(Slow(), LEASE_S, ours)  # type: ignore[arg-type]
    assert watch.living()
    ours.now = 2 * LEASE_S
    assert watch.living()
    assert not table.removed


def test_an_ended_lease_is_not_revived_by_a_renewal_under_way() -> None:
    lease = Lease(LEASE_S)
    started = steady()
    lease.end()
    lease.renewed(started)
    assert not lease.held


def _stands(number: int) -> Report:
    return Report(acked=number, ready=number)


def test_without_a_lease_only_the_newest_epoch_gives_one(
    store: Store, newer: Callable[[], int]
) -> None:
    before = newer()
    assert store.replicas.renew("rep_a", _stands(before)) == Renewal(before, joined=True)
    after = newer()
    # Others still wait for this one, and it holds up the epoch that it is not ready for.
    assert store.replicas.renew("rep_a", _stands(before)) == Renewal(before, joined=False)
    assert store.replicas.renew("rep_b", _stands(before)) is None
    assert store.replicas.renew("rep_b", _stands(after)) == Renewal(before, joined=True)
    store.replicas.leave("rep_a")
    assert store.epochs.standing() == Standing(after, after)
    assert store.replicas.renew("rep_a", _stands(before)) is None


def test_a_row_that_was_renewed_after_all_stays(store: Store) -> None:
    store.replicas.renew("rep_a", _stands(0))
    (seen,) = store.replicas.all()
    store.replicas.renew("rep_a", _stands(0))
    assert not store.replicas.remove(seen)
    (seen,) = store.replicas.all()
    assert store.replicas.remove(seen)
    assert store.replicas.all() == ()
