"""The evidence of an evaluation on disk: `evaluation.json` and `evaluation.html` beside it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medres.errors import ConfigError
from medres.files import written_whole
from medres.reports.page import render_page

SCHEMA = "medres.evaluation/1"
JSON_NAME = "evaluation.json"
PAGE_NAME = "evaluation.html"


def write_evidence(evaluation: Mapping[str, Any], folder: Path) -> Path:
    """Write an evaluation as JSON and as one self-contained HTML page.

    Both are complete before either takes its name: a run that is killed leaves the old pair, or no
    pair, never half of one file.

    Args:
        evaluation: as `metrics.evaluation` makes it, with the run's sections added: `dataset`,
            `splits`, `leakage`, `model`, `preprocessing`, `training`, `provenance`; all optional.
        folder: made where it does not exist.

    Returns:
        The path of the page.

    Raises:
        ConfigError: it is not an evaluation of this schema, or holds no finding.
    """
    check_evaluation(evaluation)
    content = finite(evaluation)
    text = format_json(content)
    page = render_page(content)
    with written_whole(folder / JSON_NAME) as figures, written_whole(folder / PAGE_NAME) as shown:
        figures.write_text(text, encoding="utf-8", newline="\n")
        shown.write_text(page, encoding="utf-8", newline="\n")
    return folder / PAGE_NAME


def check_evaluation(evaluation: Mapping[str, Any]) -> None:
    """Raise where a mapping is no evaluation that this version can report.

    Raises:
        ConfigError: another schema, or no findings.
    """
    if evaluation.get("schema", SCHEMA) != SCHEMA:
        raise ConfigError(
            f"evaluation, key schema: found {evaluation['schema']!r}, but this medres reports "
            f"{SCHEMA!r}; evaluate the model again with this version"
        )
    if not evaluation.get("findings"):
        raise ConfigError(
            "evaluation, key findings: no finding to report; give at least one finding, as "
            "medres.metrics.evaluation.evaluate returns it"
        )


def format_json(content: Any) -> str:
    """Return strict JSON that a person can read too: a list of numbers takes one line."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    # No string holds a bare line break, so what begins with "[" and one is a list.
    numbers = re.compile(r"\[\n\s*([-+.\deEnul,\s]+?)\n\s*\]")
    return numbers.sub(lambda match: f"[{' '.join(match[1].split())}]", text) + "\n"


def finite(value: Any) -> Any:
    """Return a copy that strict JSON can hold: infinity and NaN become null, tuples lists.

    An ROC curve begins at an infinite threshold, which JSON has no word for.
    """
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
