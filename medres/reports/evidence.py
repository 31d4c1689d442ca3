"""The evidence of an evaluation on disk: one folder, the same whoever writes it.

::

    evaluation.html    the page: one file, which needs none of the others
    evaluation.json    every figure, with its curves
    figures/, tables/  for a paper: `medres.reports.paper`
    model_card.md      of the model that was judged, where there is one
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from medres.errors import ConfigError
from medres.files import written_whole
from medres.reports.page import render_page
from medres.reports.paper import paper_files, remove_other_plots
from medres.reports.section import Section

SCHEMA = "medres.evaluation/1"
JSON_NAME = "evaluation.json"
PAGE_NAME = "evaluation.html"
CARD_NAME = "model_card.md"


def write_evidence(
    evaluation: Mapping[str, Any],
    folder: Path,
    *,
    model_card: Path | None = None,
    sections: Sequence[Section] = (),
) -> Path:
    """Write an evaluation as JSON, as one self-contained HTML page, and for a paper.

    All are complete before any takes its name, and the page takes it last: a run that is killed
    leaves no half of a file.

    Args:
        evaluation: as `metrics.evaluation` makes it, with the run's sections added: `dataset`,
            `splits`, `leakage`, `model`, `preprocessing`, `training`, `provenance`; all optional.
        folder: made where it does not exist.
        model_card: Markdown, copied beside the page; without it a card of an earlier report goes.
        sections: parts of the page that are made elsewhere.

    Returns:
        The path of the page.

    Raises:
        ConfigError: it is not an evaluation of this schema, or holds no finding; or there is no
            such card.
    """
    check_evaluation(evaluation)
    content = finite(evaluation)
    files = {
        PAGE_NAME: render_page(content, sections).encode(),
        JSON_NAME: format_json(content).encode(),
        **paper_files(content),
    }
    if model_card:
        files[CARD_NAME] = _read_card(model_card)
    with ExitStack() as whole:  # unwinds backwards: the page comes last
        for name, data in files.items():
            whole.enter_context(written_whole(folder / name)).write_bytes(data)
    remove_other_plots(folder, files)
    if not model_card:
        (folder / CARD_NAME).unlink(missing_ok=True)
    return folder / PAGE_NAME


def _read_card(path: Path) -> bytes:
    if not path.is_file():
        raise ConfigError(f"{path}: no such model card; give a Markdown file, or none")
    return path.read_bytes()


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
