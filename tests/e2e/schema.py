"""The machine-readable face, as JSON schemas: every key stated, none added."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def exactly(properties: dict[str, Schema]) -> Schema:
    """An object with these keys and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
PERCENT: Schema = {"type": "number", "minimum": 0, "maximum": 100}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
TEXT: Schema = {"type": "string", "minLength": 1}
CONFIG: Schema = {"type": "object", "additionalProperties": {"type": ["number", "null"]}}
"""Hyperparameters and seeds are numbers: no text, hence no paths and no names."""

SCORES = exactly(
    {
        "mean": PERCENT,
        "std": or_null({"type": "number", "minimum": 0}),
        "values": {"type": "array", "items": PERCENT, "minItems": 1},
        "seeds": {"type": "array", "items": COUNT, "minItems": 1, "uniqueItems": True},
    }
)
GAIN = exactly(
    {
        "mean": NUMBER,
        "low": or_null(NUMBER),
        "high": or_null(NUMBER),
        "p_value": or_null(SHARE),
        "level": SHARE,
        "parts": exactly(dict.fromkeys(("seeds", "search", "images"), or_null(NUMBER))),
        "better": SHARE,
    }
)
VERDICT = exactly(
    {
        "word": {"enum": ["helps", "no clear difference", "hurts", "withheld"]},
        "reason": or_null(TEXT),
    }
)
OUTCOMES = ("total", "complete", "pruned", "failed", "diverged")
ARM = exactly(
    {
        "lambda": or_null({"type": "number", "minimum": 0}),
        "lambda_over_n": or_null({"type": "number", "minimum": 0}),
        "config": CONFIG,
        "variant": {"enum": ["euclidean", "norm", "jeffreys", "entropic"]},
        "val_top1": or_null(PERCENT),
        "test_top1": or_null(SCORES),
        "epochs_run": COUNT,
        "full_trainings": COUNT,
        "edges": {"type": "object", "additionalProperties": {"enum": ["low", "high"]}},
        "gain": or_null(GAIN),
        "verdict": or_null(VERDICT),
    }
)
MAYBE_SCORES = or_null(
    exactly(
        {
            "mean": NUMBER,
            "std": or_null({"type": "number", "minimum": 0}),
            "values": {"type": "array", "items": NUMBER, "minItems": 1},
            "seeds": {"type": "array", "items": COUNT, "minItems": 1, "uniqueItems": True},
        }
    )
)
PAIR = exactly(
    {
        "first": COUNT,
        "second": COUNT,
        "first_as_second": {"type": "number", "minimum": 0},
        "second_as_first": {"type": "number", "minimum": 0},
        "confusion": or_null({"type": "number", "minimum": 0, "maximum": 2}),
    }
)
ANALYSED_ARM = exactly(
    {
        **dict.fromkeys(("train_top1", "top5", "nll", "ece"), MAYBE_SCORES),
        **dict.fromkeys(("nll_calibrated", "ece_calibrated"), MAYBE_SCORES),
        "temperature": or_null({"type": "number", "exclusiveMinimum": 0}),
        "seeds": {"type": "array", "items": COUNT},
        "class_top1": or_null({"type": "array", "items": or_null(PERCENT)}),
        "pairs": {"type": "array", "items": PAIR, "maxItems": 10},
        "confusion_within": or_null(NUMBER),
        "confusion_between": or_null(NUMBER),
    }
)
COMPARISON = exactly(
    {
        "mcnemar": {
            "type": "array",
            "items": exactly(
                {"seed": COUNT, "only_arm": COUNT, "only_control": COUNT, "p_value": SHARE}
            ),
        },
        "classes": {
            "type": "array",
            "items": exactly(
                {
                    "index": COUNT,
                    "images": COUNT,
                    "gain": or_null(NUMBER),
                    "p_value": or_null(SHARE),
                    "q_value": or_null(SHARE),
                }
            ),
        },
    }
)
ANALYSIS = exactly(
    {
        "class_names": or_null({"type": "array", "items": TEXT}),
        "class_images": or_null({"type": "array", "items": COUNT}),
        "arms": {"type": "object", "additionalProperties": ANALYSED_ARM},
        "comparisons": {"type": "object", "additionalProperties": COMPARISON},
        "problems": {"type": "array", "items": TEXT},
    }
)
STUDY = exactly(
    {
        "dataset": TEXT,
        "backbone": TEXT,
        "num_classes": {"type": "integer", "minimum": 2},
        "arms": {
            "type": "object",
            "properties": {"control": or_null(ARM)},
            "required": ["control"],
            "additionalProperties": ARM,
            "minProperties": 2,
        },
        "trials": exactly(dict.fromkeys(OUTCOMES, COUNT)),
        "epochs": exactly({"run": COUNT, "full_budget": COUNT}),
        "seconds": {"type": "number", "minimum": 0},
        "split_hash": TEXT,
        "looks": {"type": "array", "items": exactly({"seeds": COUNT, "alpha": SHARE})},
        "published": or_null({"type": "object"}),
        "neighbours": or_null({"type": "object"}),
        "analysis": or_null(ANALYSIS),
    }
)
SUMMARY = exactly(
    {
        "campaign": TEXT,
        "status": {"enum": ["running", "complete", "interrupted", "failed"]},
        "studies": {"type": "array", "items": STUDY, "minItems": 1},
        "interruptions": exactly(
            {
                "resumed": COUNT,
                "retried": COUNT,
                "repeated_epochs": COUNT,
                "repeated_seconds": {"type": "number", "minimum": 0},
                "differing_epochs": COUNT,
            }
        ),
        "notes": {"type": "array", "items": TEXT},
        "what_now": {"type": "array", "items": TEXT},
        "mismatches": {
            "type": "array",
            "items": exactly({"line": COUNT, "trial": or_null(TEXT), "what": TEXT}),
        },
        "unsealed_lines": COUNT,
    }
)

EPOCH: Schema = {
    "type": "array",
    "prefixItems": [{"type": "integer", "minimum": 1}, or_null(PERCENT)],
    "items": False,
    "minItems": 2,
}
TRIAL = exactly(
    {
        "trial": TEXT,
        "study": TEXT,
        "phase": {"enum": ["search", "finalists", "confirm"]},
        "arm": TEXT,
        "state": {"enum": ["COMPLETE", "PRUNED", "DIVERGED", "FAILED", "RUNNING"]},
        "config": CONFIG,
        "epochs": {"type": "array", "items": EPOCH},
        "test": or_null({"type": "object", "additionalProperties": NUMBER}),
        "test_value": or_null(PERCENT),
        "seconds": {"type": "number", "minimum": 0},
        "error": or_null(TEXT),
        "attempts": {"type": "integer", "minimum": 1},
        "repeated_epochs": COUNT,
        "comparable": {"type": "boolean"},
        "set_aside": {"type": "boolean"},
        "mismatches": {"type": "array", "items": exactly({"line": COUNT, "what": TEXT})},
    }
)
