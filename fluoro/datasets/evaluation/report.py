"""The report: report.json, and report.html with overlays and the camera poses."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fluoro.datasets.evaluation.rows import Row
from fluoro.files.atomic_write import replacing

__all__ = ["report_lines", "write_report"]

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em; }
table { border-collapse: collapse; margin: .5em 0 1.5em; }
th, td { padding: .25em .8em; text-align: right; border-bottom: 1px solid #d5dade; }
th:first-child, td:first-child { text-align: left; }
figure { display: inline-block; margin: .5em; } figcaption { color: #555; font-size: 13px; }
img { image-rendering: pixelated; max-width: 30em; }
"""
PUBLISHED = {
    "deepfluoro": "i4h's simulator, newest report: NCC 0.939, gradient NCC 0.681, 362 of 362 views "
    "beat the control",
    "ljubljana": "i4h's simulator, newest report: NCC 0.840, gradient NCC 0.737, 20 of 20 views "
    "beat the control",
}
NOTE = (
    "Errors are taken at the subject's landmarks. A registration succeeds below 2 mm of mTRE. "
    "Overlays: start above, end below; X-ray image orange, rendered image blue, grey where they "
    "agree."
)


def write_report(folder: Path, facts: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write report.json and report.html; earlier ones are replaced.

    Args:
        folder: Where.
        facts: Settings, layout and statistics of `summary`.
        rows: All rows.

    Raises:
        OutputError: They cannot be written.
    """
    with replacing(folder / "report.json") as file:
        file.write(json.dumps({**facts, "rows": list(rows)}, indent=1) + "\n")
    with replacing(folder / "report.html") as file:
        file.write(_page(facts, rows))


def report_lines(statistics: dict[str, Any]) -> list[str]:
    """Return the statistics of all subjects for a terminal."""
    lines = []
    if compared := statistics["comparison"].get("all"):
        lines.append(
            f"comparison    {compared['views']} views, NCC {compared['ncc']:.3f}, gradient NCC "
            f"{compared['gradient_ncc']:.3f}, {compared['beat_control']} beat the control"
        )
    if found := statistics["registration"].get("all"):
        lines.append(
            f"registration  {found['registrations']} from {found['start_mtre_mm']:.1f} mm: median "
            f"mTRE {found['median_mtre_mm']:.2f} mm, success {found['success']:.0%}, "
            f"{found['believed']} believed, {found['believed_wrong']} of them wrong"
        )
    return [*lines, *(_failure(row) for row in statistics["failed"])]


def _failure(row: Row) -> str:
    views = row["views"]
    which = views[0] if len(views) == 1 else f"{len(views)} views"
    return f"failed: {row['subject']}, {which}: {row['error']}"


def _page(facts: dict[str, Any], rows: Sequence[Row]) -> str:
    settings, statistics = facts["settings"], facts["statistics"]
    name = settings["dataset"]
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{name}</title>",
        f"<style>{STYLE}</style><h1>{name}: comparison and registration</h1>",
        _paragraph(f"{settings['form']} form, {facts['views']} views. {NOTE}"),
        *(_paragraph(f"Layout: {line}") for line in facts["layout"]),
        _paragraph(f"Checksums: {facts['checksums']}."),
        "<h2>At the stored poses</h2>",
        _table(("NCC", "ncc"), ("gradient NCC", "gradient_ncc"), rows=statistics["comparison"],
               counts=(("views", "views"), ("beat the control", "beat_control"))),
        _paragraph(f"Published: {PUBLISHED[name]}."),
        *_registration_parts(statistics),
        "<h2>Failed</h2>" if statistics["failed"] else "",
        *(_paragraph(_failure(row)) for row in statistics["failed"]),
        "<h2>Camera poses and overlays</h2>",
        *(f"<p><a href='{page}'>{page}</a></p>" for page in facts["pages"]),
        *_images(rows),
        f"<h2>Settings</h2><pre>{html.escape(json.dumps(settings, indent=1))}</pre></html>",
    ]  # fmt: skip
    return "\n".join(parts)


def _registration_parts(statistics: dict[str, Any]) -> list[str]:
    if not statistics["registration"]:
        return []
    found = statistics["calibration"]
    rows = [
        ("expected", found["expected"]),
        ("covariance as it is", found["observed"]),
        ("scaled by the other subjects' factor", found["calibrated"]),
    ]
    body = "".join(
        f"<tr><td>{what}</td>" + "".join(f"<td>{share:.0%}</td>" for share in shares) + "</tr>"
        for what, shares in rows
        if shares is not None
    )
    groups = "".join(
        f"<tr><td>{group['registrations']}</td><td>{group['predicted_mm']:.2f}</td>"
        f"<td>{group['actual_mm']:.2f}</td></tr>"
        for group in found["reliability"]
    )
    stated = "".join(
        f"<tr><td>{group['registrations']}</td><td>{group['stated']:.3f}</td>"
        f"<td>{group['right']:.3f}</td></tr>"
        for group in found["confidence"]
    )
    return [
        "<h2>Registration</h2>",
        _table(
            ("start mTRE [mm]", "start_mtre_mm"), ("median mTRE [mm]", "median_mtre_mm"),
            ("95 % mTRE [mm]", "p95_mtre_mm"), ("median mRPE [mm]", "median_mrpe_mm"),
            ("success", "success"), ("seconds", "median_seconds"), rows=statistics["registration"],
            counts=(("registrations", "registrations"), ("believed", "believed"),
                    ("believed but wrong", "believed_wrong"),
                    ("right but not believed", "right_not_believed")),
        ),
        f"<h3>Share of {found['registrations']} believed errors within their region</h3>",
        f"<table>{body}</table>",
        "<h3>Predicted and actual error</h3><table><tr><th>registrations</th>"
        f"<th>predicted [mm]</th><th>actual [mm]</th></tr>{groups}</table>",
        "<h3>Stated probability that the pose is right, and share that was right</h3><table><tr>"
        f"<th>registrations</th><th>stated</th><th>right</th></tr>{stated}</table>",
    ]  # fmt: skip


def _table(
    *statistics: tuple[str, str], rows: dict[str, Any], counts: Iterable[tuple[str, str]]
) -> str:
    columns = [*counts]
    head = "".join(f"<th>{title}</th>" for title, _ in [("subject", ""), *columns, *statistics])
    body = "".join(
        f"<tr><td>{name}</td>"
        + "".join(f"<td>{row[key]}</td>" for _, key in columns)
        + "".join(f"<td>{row[key]:.3f}</td>" for _, key in statistics)
        + "</tr>"
        for name, row in rows.items()
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _images(rows: Sequence[Row]) -> list[str]:
    return [
        f"<figure><img src='{row['overlay']}' alt='overlay'><figcaption>{row['subject']} "
        f"{row['view']}: {row['start_mtre_mm']:.1f} to {row['mtre_mm']:.2f} mm, "
        f"{'believed' if row['believed'] else 'not believed'}</figcaption></figure>"
        for row in rows
        if row.get("overlay")
    ]
