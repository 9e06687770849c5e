"""Verification finds what was done to the log and where, and nothing where nothing was done."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.audit_tampering import KEY, TAMPERINGS, Ground
from service.audit import AdminEntry, AuditLog, CaseEntry, open_audit
from service.audit_acts import compare_acts
from service.audit_anchors import Anchorer, read_anchors, sink_of
from service.audit_export import export
from service.audit_file import FIRST, AuditFile, digest_of_line, signed_line, verify
from service.audit_verify import Report, files_of, verify_logs
from service.cli.main import app
from service.settings import Settings
from service.store.admin_acts import Act

NAME = "audit.jsonl"


def case(number: int) -> CaseEntry:
    return CaseEntry(
        case=f"case_{number}", tenant="t", key="key_x", epoch=3, outcome="completed", edits={}
    )


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture(scope="module", params=[KEY, None], ids=["signed", "unsigned"])
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("ground"), request.param, 600, 3)


def test_what_nobody_touched_is_clean(ground: Ground) -> None:
    report = verify_logs(ground.chains, anchors=ground.folder / "anchors", key=ground.key)
    assert report.findings == ()
    assert [(log.lines, log.vouched) for log in report.logs] == [(600, 600)] * 2
    assert len(report.logs[0].files) > 1
    assert all(log.torn == () for log in report.logs)


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda tamper: tamper.__name__)
def test_every_tampering_is_found_and_located(
    ground: Ground, tamper: Callable[..., object]
) -> None:
    rng = random.Random(f"test/{tamper.__name__}")
    assert [ground.trial(tamper, rng) for _ in range(4)] == [(True, True)] * 4  # type: ignore[arg-type]


def test_two_tamperings_at_once_are_both_found(tmp_path: Path) -> None:
    lines = chained(tmp_path, 200)
    lines[150] = lines[150].replace(b"case_150", b"case_xyz")
    del lines[50]
    lines.insert(20, b"nonsense")
    found = {(f.kind, f.line) for f in rewritten(tmp_path, lines).findings}
    assert found == {("inserted", 21), ("removed", 52), ("changed", 151)}


def test_a_number_beyond_the_end_is_no_line_that_is_missing(tmp_path: Path) -> None:
    lines = chained(tmp_path, 20)
    lines[16] = lines[16].replace(b'"seq":17', b'"seq":24')
    found = [(f.kind, f.line) for f in rewritten(tmp_path, lines).findings]
    assert found == [("changed", 17)]


def test_between_two_that_were_swapped_one_may_stand_still(tmp_path: Path) -> None:
    lines = chained(tmp_path, 20)
    lines[9], lines[11] = lines[11], lines[9]
    found = [(f.kind, f.line) for f in rewritten(tmp_path, lines).findings]
    assert found == [("moved", 10), ("moved", 12)]


def test_the_slow_reference_agrees_on_single_files(tmp_path: Path) -> None:
    lines = chained(tmp_path, 40)
    rng = random.Random(5)
    for _ in range(60):
        changed = list(lines)
        kind, at = rng.randrange(4), rng.randrange(len(lines) - 1)
        if kind == 0:
            del changed[at]
        elif kind == 1:
            changed[at] = changed[at].replace(b"case_", b"cash_")
        elif kind == 2:
            changed.insert(at, changed[rng.randrange(len(lines))])
        assert bool(rewritten(tmp_path, changed).findings) == (verify(changed).broken > 0)


def chained(folder: Path, count: int) -> list[bytes]:
    file = AuditFile(folder / NAME)
    file.append({"kind": "case", "case": f"case_{number}"} for number in range(count))
    file.close()
    return (folder / NAME).read_bytes().splitlines()


def rewritten(folder: Path, lines: list[bytes], key: bytes | None = None) -> Report:
    (folder / NAME).write_bytes(b"".join(line + b"\n" for line in lines))
    return verify_logs(files_of(folder / NAME), key=key)


@pytest.mark.parametrize("cut", [2, 40, 100])
def test_what_a_crash_tore_is_reported_apart(tmp_path: Path, cut: int) -> None:
    path = tmp_path / NAME
    chained(tmp_path, 5)
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines(keepends=True)[-1][:-cut])
    report = verify_logs(files_of(path))
    assert (report.findings, report.logs[0].torn) == ((), (f"{path}:6",))
    log = AuditLog(path)  # a process takes the file up again
    log.write(case(9))
    log.close()
    report = verify_logs(files_of(path))
    assert (report.findings, report.logs[0].torn) == ((), (f"{path}:6",))
    assert report.logs[0].lines == 7


def test_a_line_garbled_before_a_start_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / NAME
    for _ in range(2):
        log = AuditLog(path)
        log.write(case(1))
        log.close()
    lines = path.read_bytes().splitlines()
    lines[1] = lines[1][:30]
    report = rewritten(tmp_path, lines)
    assert [(f.kind, f.line, f.seq) for f in report.findings] == [("changed", 2, 2)]
    assert report.logs[0].torn == ()


def test_a_file_that_has_grown_is_put_aside_and_the_chain_goes_on(tmp_path: Path) -> None:
    path = tmp_path / NAME
    for _ in range(3):
        log = AuditLog(path, max_bytes=2_000)
        for number in range(40):
            log.write(case(number))
            if number % 8 == 0:
                time.sleep(0.01)  # several batches
        log.close()
    (chain,) = files_of(path)
    assert [each.name for each in chain[:2]] == [f"{NAME}.000001", f"{NAME}.000002"]
    assert chain[-1] == path
    report = verify_logs([chain])
    assert report.findings == ()
    assert report.logs[0].lines == 3 * 41
    # One that was put aside is missed, and so is one that was there first.
    chain[0].rename(tmp_path / "taken")
    (gone,) = verify_logs(files_of(path)).findings
    assert (gone.kind, gone.line, gone.seq) == ("removed", 1, 1)


def test_killed_between_putting_aside_and_going_on(tmp_path: Path) -> None:
    chained(tmp_path, 5)
    (tmp_path / NAME).rename(tmp_path / f"{NAME}.000001")
    chained(tmp_path, 3)
    report = verify_logs(files_of(tmp_path / NAME))
    assert (report.findings, report.logs[0].lines) == ((), 8)


def test_an_anchor_tells_of_a_log_that_is_gone(tmp_path: Path) -> None:
    anchors = tmp_path / "elsewhere" / "anchors"
    settings = Settings(data_dir=tmp_path, audit_anchor=str(anchors))
    log = open_audit(settings)
    log.write(case(1))
    log.close()
    assert verify_logs(files_of(settings.audit_path), anchors=anchors).findings == ()
    settings.audit_path.unlink()
    open_audit(settings).close()  # another chain under the same name
    (found,) = verify_logs(files_of(settings.audit_path), anchors=anchors).findings
    assert (found.kind, found.file, found.seq) == ("missing_file", NAME, 2)


def test_a_forged_anchor_is_found_with_the_key(tmp_path: Path) -> None:
    anchors, key = tmp_path / "anchors", b"k" * 32
    (tmp_path / "key").write_bytes(key)
    settings = Settings(
        data_dir=tmp_path, audit_anchor=str(anchors), audit_key_file=tmp_path / "key"
    )
    log = open_audit(settings)
    log.write(case(1))
    log.close()
    path = settings.audit_path
    assert verify_logs(files_of(path), anchors=anchors, key=key).findings == ()
    # Whoever lacks the key writes everything anew, anchors too.
    record = {"kind": "start", "seq": 1, "prev": FIRST, "chain": "00"}
    line = signed_line(record, b"x" * 32)
    path.write_bytes(line + b"\n")
    anchor = json.loads(anchors.read_text().splitlines()[-1])
    anchor.update(seq=1, hash=digest_of_line(line))
    anchors.write_text(json.dumps(anchor) + "\n")
    kinds = {f.kind for f in verify_logs(files_of(path), anchors=anchors, key=key).findings}
    assert kinds == {"wrong_anchor", "changed"}


class _Taker(BaseHTTPRequestHandler):
    taken: list[bytes]
    status: int

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if type(self).status == 200:
            self.taken.append(body)
        self.send_response(type(self).status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def taker() -> Iterator[tuple[str, type[_Taker]]]:
    handler = type("Taker", (_Taker,), {"taken": [], "status": 200})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/anchors", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_anchors_go_to_a_url_and_are_tried_again(
    tmp_path: Path, taker: tuple[str, type[_Taker]]
) -> None:
    url, handler = taker
    handler.status = 500
    anchors = Anchorer(sink_of(url), every_lines=10, every_s=0.05)
    log = AuditLog(tmp_path / NAME, anchors=anchors)
    log.write(case(1))
    wait_until(lambda: anchors.failing)
    assert log.healthy  # the log itself is written
    handler.status = 200
    wait_until(lambda: handler.taken)
    log.write(case(2))
    log.close()
    found = read_anchors(handler.taken, None)
    assert found.bad == ()
    assert found.anchors[-1][1].seq == 3
    (tmp_path / "anchors").write_bytes(b"".join(handler.taken))
    report = verify_logs(files_of(tmp_path / NAME), anchors=tmp_path / "anchors")
    assert (report.findings, report.logs[0].vouched) == ((), 3)


def _has(taken: list[bytes], count: int) -> bool:
    return len(taken) >= count


def test_an_anchor_comes_every_so_many_lines(tmp_path: Path) -> None:
    taken: list[bytes] = []
    anchors = Anchorer(taken.append, every_lines=5, every_s=1000)
    log = AuditLog(tmp_path / NAME, anchors=anchors)
    for round_number in range(4):
        for number in range(5):
            log.write(case(number))
        wait_until(partial(_has, taken, round_number + 1))
    log.close()
    seqs = [anchor.seq for _, anchor in read_anchors(taken, None).anchors]
    assert seqs[-1] == 21
    assert seqs == sorted(set(seqs))


def test_a_program_takes_anchors(tmp_path: Path) -> None:
    sink = sink_of(f"command:tee -a {tmp_path / 'out'}")
    sink(b"one\n")
    assert (tmp_path / "out").read_bytes() == b"one\n"
    with pytest.raises(OSError, match="not taken"):
        sink_of("command:false")(b"one\n")


def test_acts_are_compared_both_ways(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / NAME)
    for act, target in (("forget", "fr_1"), ("revoke", "fr_1"), ("forget", "fr_9"), ("score", "")):
        log.write(AdminEntry(act=act, key="key_x", target=target))
    log.close()
    acts = [
        Act("create_key", "bootstrap", "key_x", 0),
        Act("forget", "key_x", "fr_1", 1),
        Act("forget", "key_x", "fr_2", 2),
        Act("expire", "system", "fr_2", 3),
        Act("revoke", "key_x", "fr_1", 4),
    ]
    compared = compare_acts(files_of(tmp_path / NAME), acts)
    assert [(f.kind, f.line) for f in compared.unknown] == [("unknown_act", 4)]
    assert compared.unlogged == ("forget fr_2 in epoch 2",)


def test_an_export_is_in_order_and_proves_itself(tmp_path: Path) -> None:
    logs = [AuditLog(tmp_path / NAME) for _ in range(2)]
    for number in range(6):
        logs[number % 2].write(case(number))
        time.sleep(0.005)
    for log in logs:
        log.close()
    out = BytesIO()
    count = export(files_of(tmp_path / NAME), out, further=[{"certificate": "c"}])
    *body, footer = out.getvalue().splitlines(keepends=True)
    assert json.loads(footer) == {"lines": count, "sha256": digest_of_line(b"".join(body))}
    records = [json.loads(line) for line in body[1:-1]]
    cases = [each["record"]["case"] for each in records if each["record"]["kind"] == "case"]
    assert cases == [f"case_{number}" for number in range(6)]
    assert json.loads(body[-1]) == {"document": {"certificate": "c"}}
    for each in records:
        raw = (tmp_path / each["file"]).read_bytes().splitlines()[each["line"] - 1]
        assert digest_of_line(raw) == each["sha256"]
    assert export(files_of(tmp_path / NAME), BytesIO(), since=datetime(2100, 1, 1, tzinfo=UTC)) == 0


def test_the_command_says_where_and_ends_with_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETHE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LETHE_AUDIT_ANCHOR", str(tmp_path / "anchors"))
    log = open_audit(Settings())
    for number in range(5):
        log.write(case(number))
    log.close()
    run = CliRunner().invoke
    assert run(app, ["audit", "verify"]).exit_code == 0
    assert run(app, ["audit", "anchor", "--to", str(tmp_path / "anchors")]).exit_code == 0
    path = tmp_path / NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    result = run(app, ["audit", "verify", str(path)])
    assert result.exit_code == 1
    assert f"{path}:6: truncated" in result.stdout.replace("\n", "")
    report = json.loads(run(app, ["audit", "verify", "--json"]).stdout)
    assert (report["ok"], report["findings"][0]["kind"]) == (False, "truncated")
    out = tmp_path / "export.jsonl"
    assert run(app, ["audit", "export", "--out", str(out)]).exit_code == 0
    assert len(out.read_bytes().splitlines()) == 7
    assert run(app, ["audit", "verify", str(tmp_path / "nothing.jsonl")]).exit_code == 1
