"""A summary as rows, one for each arm of each study: Markdown, LaTeX and CSV for papers."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any, Literal

from pcsearch.arms import CONTROL
from pcsearch.reporting import formatting as fmt
from pcsearch.reporting.summary_types import StudySummary, Summary

Format = Literal["markdown", "latex", "csv"]

COLUMNS = (
    "campaign", "status", "dataset", "backbone", "classes", "arm", "lambda", "lambda_over_n",
    "own", "lr", "val_top1", "test_mean", "test_std", "seeds", "gain", "gain_low", "gain_high",
    "gain_level", "p_value", "verdict", "published",
)  # fmt: skip
"""Columns of the CSV; percentages and points with all their digits, empty where unknown."""


def result_rows(summary: Summary) -> list[dict[str, Any]]:
    """The columns of `COLUMNS` for each arm, the control first."""
    return [
        _row(summary, study, name)
        for study in summary.studies
        for name in sorted(study.arms, key=lambda name: name != CONTROL)
    ]


def formatted(summary: Summary, form: Format) -> str:
    """The rows as text that ends with a newline."""
    return {"markdown": _markdown, "latex": _latex, "csv": _csv}[form](summary)


def _row(summary: Summary, study: StudySummary, name: str) -> dict[str, Any]:
    arm, paper = study.arms[name], study.published
    gain, scores = arm.gain, arm.test_top1
    own = {key: value for key, value in arm.config.items() if key in arm.own}
    reported = {CONTROL: "baseline", "pc": "pc"}.get(name)
    return {
        "campaign": summary.campaign,
        "status": summary.status,
        "dataset": study.dataset,
        "backbone": study.backbone,
        "classes": study.num_classes,
        "arm": name,
        "lambda": arm.lambda_,
        "lambda_over_n": arm.lambda_over_n,
        "own": " ".join(f"{key}={value:.6g}" for key, value in own.items() if "lambda" not in key),
        "lr": arm.config.get("lr"),
        "val_top1": arm.val_top1,
        "test_mean": scores.mean if scores else None,
        "test_std": scores.std if scores else None,
        "seeds": len(scores.values) if scores else 0,
        "gain": gain.mean if gain else None,
        "gain_low": gain.low if gain else None,
        "gain_high": gain.high if gain else None,
        "gain_level": gain.level if gain else None,
        "p_value": gain.p_value if gain else None,
        "verdict": arm.verdict.word if arm.verdict else None,
        "published": dict(paper).get(reported) if paper and reported else None,
    }


def _csv(summary: Summary) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(result_rows(summary))
    return text.getvalue()


_HEADINGS = (
    "dataset", "backbone", "N", "arm", "strength", "learning rate", "test accuracy (%)", "seeds",
    "gain (points)", "verdict",
)  # fmt: skip


def _cells(summary: Summary) -> list[list[str]]:
    """The rows with rounded numbers, under `_HEADINGS`; the paper's column only if it has any."""
    rows = []
    for study in summary.studies:
        for name in sorted(study.arms, key=lambda name: name != CONTROL):
            arm = study.arms[name]
            own = ", ".join(f"{key} = {fmt.significant(v)}" for key, v in fmt.strengths(arm) if v)
            rate = arm.config.get("lr")
            rows.append(
                [
                    study.dataset,
                    study.backbone,
                    str(study.num_classes),
                    fmt.label(name),
                    own or fmt.ABSENT,
                    fmt.ABSENT if rate is None else fmt.significant(rate),
                    fmt.scores(arm.test_top1),
                    str(len(arm.test_top1.values) if arm.test_top1 else 0),
                    fmt.gain_text(arm.gain),
                    arm.verdict.word if arm.verdict else fmt.ABSENT,
                ]
            )
    for cells, row in zip(rows, result_rows(summary), strict=True):
        cells.append(fmt.percent(row["published"]))
    return rows


def _table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Headings and cells. The paper's protocol is another one, so its heading says so."""
    headings, rows = [*_HEADINGS, "published, the paper's protocol (%)"], _cells(summary)
    if all(row[-1] == fmt.ABSENT for row in rows):
        return headings[:-1], [row[:-1] for row in rows]
    return headings, rows


def _markdown(summary: Summary) -> str:
    headings, rows = _table(summary)
    ruler = ["---"] * len(headings)
    lines = [headings, ruler, *rows]
    escaped = (" | ".join(cell.replace("|", r"\|") for cell in line) for line in lines)
    table = "\n".join(f"| {line} |" for line in escaped)
    return f"{table}\n\n{_caption(summary)}\n"


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "−": "$-$", "–": "--", "λ": r"$\lambda$", "γ": r"$\gamma$", "α": r"$\alpha$",
    "τ": r"$\tau$", "ρ": r"$\rho$", "ε": r"$\varepsilon$",
}  # fmt: skip


def _latex(summary: Summary) -> str:
    headings, rows = _table(summary)
    columns = "".join("r" if heading in ("N", "seeds") else "l" for heading in headings)
    lines = [_latex_line(headings), r"\midrule", *(_latex_line(row) for row in rows)]
    body = "\n".join(lines)
    return (
        "% needs \\usepackage{booktabs}\n"
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"
        f"% {_caption(summary)}\n"
    )


def _latex_line(cells: Sequence[str]) -> str:
    escaped = ("".join(_LATEX.get(sign, sign) for sign in cell) for cell in cells)
    return " & ".join(re.sub(r"(?<!\w)-(?=\d)", "$-$", cell) for cell in escaped) + r" \\"


def _caption(summary: Summary) -> str:
    """What the numbers are, and whether the campaign had ended."""
    levels = {
        fmt.level(arm.gain)
        for study in summary.studies
        for arm in study.arms.values()
        if arm.gain is not None and arm.gain.low is not None
    }
    covered = f" Intervals have a level of {', '.join(sorted(levels))}." if levels else ""
    partial = "" if summary.status == "complete" else f" The campaign is {summary.status}."
    return (
        "Test: mean ± std over confirm seeds. Gain: arm − control, paired by seed; its interval "
        f"covers training seeds, the search's luck and the choice of test images.{covered}{partial}"
    )
