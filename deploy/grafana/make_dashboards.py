#!/usr/bin/env python3
"""Writes deploy/grafana/dashboards/*.json: the dashboards, for the Grafana of docker-compose.yml.

A test compares the files with what this makes, and asks a live Prometheus for every expression.
usage: make_dashboards.py [FOLDER]
"""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

GRAFANA_SCHEMA = 41  # of Grafana 12.1
SOURCE = {"type": "prometheus", "uid": "lethe-prometheus"}
WIDTH, HEIGHT = 24, 8
RATE = "[$__rate_interval]"

Json = dict[str, Any]
Kind = Literal["timeseries", "stat"]


@dataclass(frozen=True)
class Panel:
    """One picture.  queries: expression and legend.  width: of 24 columns.

    red_from: the value from which it is shown in red; None: never.
    """

    title: str
    says: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: Kind = "timeseries"
    width: int = 8
    red_from: float | None = None
    stacked: bool = False


@dataclass(frozen=True)
class Dashboard:
    """A page of panels in named rows."""

    uid: str
    title: str
    says: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]


def quantiles(metric: str, of: str = "") -> tuple[tuple[str, str], ...]:
    """The median and the 99th percentile of a histogram.  of: matchers."""
    return tuple(
        (
            f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket{of}{RATE})))",
            legend,
        )
        for q, legend in ((0.5, "p50"), (0.99, "p99"))
    )


def rate(metric: str, by: str = "", of: str = "") -> str:
    """Events a second."""
    return f"sum{f' by ({by}) ' if by else ''}(rate({metric}{of}{RATE}))"


def number(title: str, says: str, expr: str, **more: Any) -> Panel:
    """A panel that is one number."""
    return Panel(title, says, ((expr, ""),), kind="stat", width=4, **more)


OPERATIONS = Dashboard(
    "lethe-operations",
    "Lethe: operations",
    "Is it up, who is slow, what does it cost?",
    (
        (
            "Now",
            (
                number(
                    "Not ready",
                    "Reasons why a gateway serves nothing. Anything but 0 means 503s.",
                    'count(lethe_not_ready{job="lethe"} == 1) or vector(0)',
                    red_from=1,
                ),
                number("Gateways", "That answer Prometheus.", 'sum(up{job="lethe"})'),
                number("Workers", "Processes that serve.", "sum(lethe_workers)"),
                number("In flight", "Requests being answered.", "sum(lethe_inflight_requests)"),
                number(
                    "Requests a second",
                    "Of all kinds, refused ones too.",
                    rate("lethe_cases_total"),
                    unit="reqps",
                ),
                number(
                    "Canary",
                    "Time since an engine last showed that edits act.",
                    "max(lethe_canary_age_seconds)",
                    unit="s",
                    red_from=60,
                ),
            ),
        ),
        (
            "Who is slow",
            (
                Panel(
                    "Time to first token",
                    "From a request's arrival to the first byte of its answer.",
                    quantiles("gen_ai_server_time_to_first_token_seconds"),
                    unit="s",
                ),
                Panel(
                    "Of that, ours",
                    "The same without the engine's time to its first piece.",
                    quantiles("lethe_added_first_token_seconds"),
                    unit="s",
                ),
                Panel(
                    "Held back at the beginning",
                    "From the engine's first piece to the first byte that left: the text filter "
                    "waits until what was said cannot become a protected phrase.",
                    quantiles("lethe_hold_back_seconds"),
                    unit="s",
                ),
                Panel(
                    "Time of each stage, p99",
                    "decide is the router with the guards; upstream the engine to its first piece.",
                    (
                        (
                            "histogram_quantile(0.99, sum by (le, stage) "
                            f"(rate(lethe_stage_seconds_bucket{RATE})))",
                            "{{stage}}",
                        ),
                    ),
                    unit="s",
                ),
                Panel(
                    "Hop of a chunk",
                    "From a piece of the engine's to the chunk made of it.",
                    quantiles("lethe_hop_seconds"),
                    unit="s",
                ),
                Panel(
                    "Whole requests",
                    "From arrival to the last byte.",
                    quantiles("gen_ai_server_request_duration_seconds"),
                    unit="s",
                ),
            ),
        ),
        (
            "How it ends",
            (
                Panel(
                    "Cases by outcome",
                    "What became of requests.",
                    ((rate("lethe_cases_total", "outcome"), "{{outcome}}"),),
                    unit="reqps",
                    stacked=True,
                ),
                Panel(
                    "Refused for want of a guard",
                    "503s by reason. See the runbook LetheFailClosed.",
                    ((rate("lethe_fail_closed_total", "reason"), "{{reason}}"),),
                    unit="reqps",
                    stacked=True,
                ),
                Panel(
                    "Requests in flight",
                    "By gateway; what replicas are scaled by.",
                    (("sum by (instance) (lethe_inflight_requests)", "{{instance}}"),),
                ),
            ),
        ),
        (
            "What it costs",
            (
                Panel(
                    "Processor time of gateways",
                    "Cores in use.",
                    ((rate("lethe_cpu_seconds_total", "instance"), "{{instance}}"),),
                ),
                Panel(
                    "Memory of gateways",
                    "Resident.",
                    (("sum by (instance) (lethe_memory_bytes)", "{{instance}}"),),
                    unit="bytes",
                ),
                Panel(
                    "Tokens a second",
                    "Of prompts and of answers.",
                    (
                        (
                            rate("gen_ai_client_token_usage_sum", "gen_ai_token_type"),
                            "{{gen_ai_token_type}}",
                        ),
                    ),
                ),
            ),
        ),
    ),
)

ENFORCEMENT = Dashboard(
    "lethe-enforcement",
    "Lethe: enforcement",
    "What is suppressed, how, and what slipped past a layer?",
    (
        (
            "Now",
            (
                number("Epoch", "In force on every gateway that serves.", "min(lethe_epoch >= 0)"),
                number(
                    "Behind",
                    "Epochs between the store and the slowest gateway.",
                    "max(lethe_newest_epoch) - min(lethe_epoch >= 0)",
                    red_from=1,
                ),
                number(
                    "Stop-gaps",
                    "Policies without a certificate.",
                    'max(lethe_policies{assurance="stopgap"})',
                ),
                number(
                    "Certified",
                    "Policies with a certificate.",
                    'max(lethe_policies{assurance="certified"})',
                ),
                number(
                    "Router misses, 24 h",
                    "What the text filter had to catch.",
                    "sum(increase(lethe_text_filter_catches_total[24h]))",
                    red_from=1,
                ),
                number(
                    "Gone dark, 24 h",
                    "Requests that the engine could not verify or edit.",
                    'sum(max by (reason) (increase(lethe_engine_dark_total{reason!="rows"}[24h])))',
                    red_from=1,
                ),
            ),
        ),
        (
            "Detection",
            (
                Panel(
                    "Matches by evidence",
                    "alias and example: the router's. output: found in an answer only.",
                    ((rate("lethe_matches_total", "evidence"), "{{evidence}}"),),
                    stacked=True,
                ),
                Panel(
                    "Caught by the text filter",
                    "Each is a prompt that the router did not recognise.",
                    ((rate("lethe_text_filter_catches_total"), "catches"),),
                ),
                Panel(
                    "Deciding",
                    "Router and guards, for each request.",
                    quantiles("lethe_stage_seconds", '{stage="decide"}'),
                    unit="s",
                ),
            ),
        ),
        (
            "Acting",
            (
                Panel(
                    "Edits by guard",
                    "What guards did.",
                    ((rate("lethe_edits_total", "guard"), "{{guard}}"),),
                    stacked=True,
                ),
                Panel(
                    "Edits by outcome",
                    "How the cases ended that they acted in.",
                    ((rate("lethe_edits_total", "outcome"), "{{outcome}}"),),
                    stacked=True,
                ),
                Panel(
                    "Rewrites by outcome",
                    "All but composed ended with the fallback.",
                    ((rate("lethe_rewrites_total", "outcome"), "{{outcome}}"),),
                    stacked=True,
                ),
                Panel(
                    "Gone dark in the engine",
                    "Counted by the engine; rows are embeddings that were zeroed.",
                    ((f"max by (reason) (rate(lethe_engine_dark_total{RATE}))", "{{reason}}"),),
                ),
                Panel(
                    "Canary",
                    "Age of the last proof, by gateway; from three intervals on nothing is served.",
                    (("max by (instance) (lethe_canary_age_seconds)", "{{instance}}"),),
                    unit="s",
                ),
                Panel(
                    "Held back at the end",
                    "Characters that only the end of an answer let out.",
                    quantiles("lethe_hold_back_chars"),
                ),
            ),
        ),
    ),
)

COMPLIANCE = Dashboard(
    "lethe-compliance",
    "Lethe: compliance",
    "Which requests to forget are in force, since when, and how sure is that?",
    (
        (
            "Now",
            (
                number(
                    "In force",
                    "Forget requests that are enforced, by a stop-gap or a compiled policy.",
                    "sum(max by (state) "
                    '(lethe_forget_requests{state=~"received|compiling|verifying|active"}))',
                ),
                number(
                    "Compiled",
                    "Of these, with a compiled policy.",
                    'max(lethe_forget_requests{state="active"})',
                ),
                number(
                    "Oldest stop-gap",
                    "Age of the oldest request without a compiled policy.",
                    "max(lethe_oldest_stopgap_seconds)",
                    unit="s",
                    red_from=172800,
                ),
                number(
                    "Not confirmed, 24 h",
                    "Changes that were stored but not confirmed in time.",
                    'sum(increase(lethe_changes_total{outcome="pending"}[24h]))',
                    red_from=1,
                ),
                number(
                    "Store",
                    "1 where every gateway can read it.",
                    "min(lethe_store_up)",
                ),
                number(
                    "Audit",
                    "1 where every gateway can write its log.",
                    "min(lethe_audit_healthy)",
                ),
            ),
        ),
        (
            "Requests",
            (
                Panel(
                    "Forget requests by state",
                    "Everything that the store holds.",
                    (("max by (state) (lethe_forget_requests)", "{{state}}"),),
                    stacked=True,
                ),
                Panel(
                    "Policies in force",
                    "With a certificate and without.",
                    (("max by (assurance) (lethe_policies)", "{{assurance}}"),),
                    stacked=True,
                ),
                Panel(
                    "Compilations",
                    "Waiting, running, and requests whose last one failed.",
                    (("max by (status) (lethe_compilations)", "{{status}}"),),
                ),
            ),
        ),
        (
            "From asked to enforced",
            (
                Panel(
                    "Until a change is in force everywhere",
                    "From the request to the 2xx: forgetting and revoking.",
                    quantiles("lethe_activation_seconds"),
                    unit="s",
                ),
                Panel(
                    "Changes by outcome",
                    "pending: stored, and not confirmed in time. refused: a 4xx.",
                    (
                        (
                            "sum by (change, outcome) (increase(lethe_changes_total[1h]))",
                            "{{change}} {{outcome}}",
                        ),
                    ),
                ),
                Panel(
                    "Epoch",
                    "In the store, and in force on each gateway; -1: none.",
                    (
                        ("max(lethe_newest_epoch)", "store"),
                        ("min by (instance) (lethe_epoch)", "{{instance}}"),
                    ),
                ),
            ),
        ),
    ),
)

DASHBOARDS = (OPERATIONS, ENFORCEMENT, COMPLIANCE)


def made(dashboard: Dashboard) -> Json:
    """The dashboard as Grafana reads it."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.says,
        "schemaVersion": GRAFANA_SCHEMA,
        "version": 1,
        "editable": False,
        "refresh": "10s",
        "tags": ["lethe"],
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "utc",
        "links": [{"type": "dashboards", "tags": ["lethe"], "title": "Lethe", "asDropdown": False}],
        "templating": {"list": []},
        "annotations": {"list": []},
        "panels": list(_placed(dashboard.rows)),
    }


def _placed(rows: Iterable[tuple[str, tuple[Panel, ...]]]) -> Iterator[Json]:
    """Rows below each other, their panels from left to right."""
    y, number = 0, 0
    for title, panels in rows:
        number += 1
        at = {"x": 0, "y": y, "w": WIDTH, "h": 1}
        yield {"id": number, "type": "row", "title": title, "gridPos": at, "panels": []}
        y += 1
        x, height = 0, 0
        for panel in panels:
            if x + panel.width > WIDTH:
                x, y = 0, y + height
            height = HEIGHT // 2 if panel.kind == "stat" else HEIGHT
            number += 1
            yield _panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": height})
            x += panel.width
        y += height


def _panel(panel: Panel, number: int, at: Json) -> Json:
    steps: list[Json] = [{"color": "green", "value": None}]
    if panel.red_from is not None:
        steps.append({"color": "red", "value": panel.red_from})
    defaults: Json = {
        "unit": panel.unit,
        "min": 0 if panel.title != "Epoch" else None,
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    options: Json = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value"}
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "fillOpacity": 20 if panel.stacked else 0,
            "stacking": {"mode": "normal" if panel.stacked else "none"},
        }
        options = {"legend": {"displayMode": "list", "placement": "bottom"}}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": SOURCE,
        "gridPos": at,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": SOURCE,
                "expr": expr,
                "legendFormat": legend or "__auto",
            }
            for place, (expr, legend) in enumerate(panel.queries)
        ],
    }


def files() -> dict[str, str]:
    """The text of each file, by name."""
    named = {each.uid.removeprefix("lethe-"): made(each) for each in DASHBOARDS}
    return {f"{name}.json": json.dumps(made, indent=2) + "\n" for name, made in named.items()}


def main(folder: Path) -> None:
    """Write them all."""
    for name, text in files().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "dashboards"
    main(given)
