"""What the local page answers to an address: pure, without a socket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from medres.errors import ResultsError
from medres.reports.figure_kinds import format_estimate
from medres.reports.summary import RESEARCH_USE
from medres.reports.template_environment import template_environment
from medres.serving.archive_pictures import PictureSource, describe_image
from medres.serving.comparison import compare_figures, compare_settings
from medres.serving.folders import Entry, find_entries
from medres.serving.worklist import FACTS, FLAG, KEY, REASON, Asked, read_study, read_worklist

HTML = "text/html; charset=utf-8"
OWN_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
# A run's page may hold anything, if its folder came from elsewhere: it runs in an origin of its
# own, which can read nothing here, and may load nothing.
FOREIGN_POLICY = (
    "sandbox allow-scripts allow-downloads allow-top-navigation-by-user-activation; "
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES = {
    ".html": HTML,
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
}
PLAIN = "text/plain; charset=utf-8"
FILES = {
    *("evaluation.html", "evaluation.json", "model_card.md", "training.html", "training.json"),
    *("config.yaml", "schedule.txt", "schedule.png", "epochs.jsonl", "run.json", "folds.md"),
    *("folds.json", "summary.html", "summary.json", "studies.csv", "images.csv"),
    *("rejected.jsonl", "not_chosen.jsonl"),
}
"""What may be opened: nothing that leads back to a patient (manifest, predictions, keys, cases)."""
PAPER = {"figures": {".pdf", ".svg"}, "tables": {".csv", ".tex"}}
MOST_COMPARED = 6


@dataclass(frozen=True)
class Answer:
    """A response.

    Attributes:
        status: of HTTP.
        body: its bytes.
        kind: its media type.
        policy: content security policy.
    """

    status: int
    body: bytes
    kind: str = HTML
    policy: str = OWN_POLICY


@dataclass(frozen=True)
class Site:
    """The served folder.

    Attributes:
        root: below which runs and archives lie.
        pictures: where an archive's pictures come from.
    """

    root: Path
    pictures: PictureSource = field(default_factory=PictureSource)

    def answer(self, target: str) -> Answer:
        """Answer a request for an address, path and query."""
        address = urlsplit(target)
        query = parse_qs(address.query)
        if address.path.startswith("/files/"):
            return self._file(address.path.removeprefix("/files/"))
        pages = {
            "/": self._list,
            "/compare": self._compare,
            "/worklist": self._worklist,
            "/study": self._study,
            "/picture": self._picture,
        }
        page = pages.get(address.path)
        try:
            return page(query) if page else _missing("There is no such page.")
        except ResultsError as error:
            return _page("message", 500, title="Not readable", words=str(error))

    def _list(self, _query: Mapping[str, Sequence[str]]) -> Answer:
        entries = find_entries(self.root)
        return _page(
            "list",
            runs=[(entry, _headline(entry)) for entry in entries if entry.kind != "archive"],
            archives=[(entry, _summary(entry)) for entry in entries if entry.kind == "archive"],
            name=self.root.resolve().name,
        )

    def _compare(self, query: Mapping[str, Sequence[str]]) -> Answer:
        by_name = {entry.name: entry for entry in find_entries(self.root)}
        entries = [by_name[name] for name in dict.fromkeys(query.get("run", ())) if name in by_name]
        if len(entries) < 2:
            return _page(
                "message", 400, title="Compare", words="Choose two runs or more, and compare them."
            )
        entries = entries[:MOST_COMPARED]
        settings = compare_settings(entries)
        return _page(
            "compare",
            entries=[(entry, _headline(entry)) for entry in entries],
            figures=compare_figures(entries),
            differing=[row for row in settings if row.differs],
            same=[row for row in settings if not row.differs],
        )

    def _worklist(self, query: Mapping[str, Sequence[str]]) -> Answer:
        entry = self._archive(query)
        if entry is None:
            return _missing("There is no such archive.")
        asked = read_asked(query)
        shown = read_worklist(entry.folder, asked)

        def link(**changed: Any) -> str:
            values = {
                "name": entry.name,
                "sort": shown.sort,
                "order": "down" if asked.descending else "up",
                "page": shown.page,
                "flagged": asked.flagged,
            }
            return f"/worklist?{urlencode({**values, **changed})}"

        headers = [
            (
                column,
                link(sort=column, page=1, order=_turned(column, shown.sort, asked)),
                ("descending" if asked.descending else "ascending") if column == shown.sort else "",
            )
            for column in shown.columns
        ]
        flags = [
            ("all", "all studies"),
            ("only", "refused by the guard"),
            ("without", "the others"),
        ]
        return _page(
            "worklist",
            entry=entry,
            shown=shown,
            headers=headers,
            filters=[(words, link(flagged=f, page=1), f == asked.flagged) for f, words in flags],
            previous=link(page=shown.page - 1) if shown.page > 1 else "",
            following=link(page=shown.page + 1) if shown.page < shown.pages else "",
            thresholds=_summary(entry).get("thresholds") or {},
            study=lambda key: f"/study?{urlencode({'name': entry.name, 'key': key})}",
            flag=FLAG,
            key=KEY,
            reason=REASON,
        )

    def _study(self, query: Mapping[str, Sequence[str]]) -> Answer:
        entry = self._archive(query)
        if entry is None:
            return _missing("There is no such archive.")
        study, images = read_study(entry.folder, _one(query, "key"))
        if not study:
            return _missing("There is no such study.")
        findings = read_worklist(entry.folder, Asked()).findings
        wanted = _one(query, "finding")
        finding = wanted if wanted in findings else max(findings, key=lambda f: study[f] or 0.0)
        refusal = self.pictures.refusal(entry.folder)

        def picture(row: Mapping[str, Any]) -> str:
            if not self.pictures.find(entry.folder, row["image_key"]):
                return ""
            values = {"name": entry.name, "image": row["image_key"], "frame": row["frame"]}
            return f"/picture?{urlencode({**values, 'key': study[KEY], 'finding': finding})}"

        return _page(
            "study",
            entry=entry,
            study=study,
            findings=findings,
            finding=finding,
            facts=[(name, study[name]) for name in (*FACTS, FLAG, REASON) if study.get(name)],
            images=[(row, describe_image(row), picture(row)) for row in images],
            refusal=refusal,
            choose=[
                (f, f"/study?{urlencode({'name': entry.name, 'key': study[KEY], 'finding': f})}")
                for f in findings
            ],
        )

    def _picture(self, query: Mapping[str, Sequence[str]]) -> Answer:
        entry = self._archive(query)
        address = self.pictures.find(entry.folder, _one(query, "image")) if entry else ""
        frame = _one(query, "frame") or "0"
        if not address or not frame.isascii() or not frame.isdigit() or len(frame) > 6:
            return _missing("There is no such picture.")
        column = _one(query, "finding")
        drawn = self.pictures.draw(address, int(frame), column.removeprefix("finding_"))
        drawn = drawn or self.pictures.draw(address, int(frame), column)
        if drawn is None:
            return _missing("The image cannot be read, or the model has no such finding.")
        return Answer(200, drawn, "image/jpeg")

    def _archive(self, query: Mapping[str, Sequence[str]]) -> Entry | None:
        name = _one(query, "name")
        for entry in find_entries(self.root):
            if entry.name == name and entry.kind == "archive":
                return entry
        return None

    def _file(self, quoted: str) -> Answer:
        """A file of a run: only those that are meant to be looked at, and only below the root."""
        path = PurePosixPath(unquote(quoted))
        file = self.root.joinpath(*path.parts)
        root = self.root.resolve()
        if (
            not may_open(path)
            or not file.resolve().is_relative_to(root)
            or file.is_symlink()
            or not file.is_file()
        ):
            return _missing("There is no such file, or it is not one to be looked at here.")
        kind = TYPES.get(file.suffix, PLAIN)
        return Answer(200, file.read_bytes(), kind, FOREIGN_POLICY)


def may_open(path: PurePosixPath) -> bool:
    """Whether a file, relative to the served folder, is one to be looked at."""
    plain = all(part not in ("..", "/") and not part.startswith(".") for part in path.parts)
    if not plain or not path.parts or "\\" in str(path) or "\0" in str(path):
        return False
    return path.name in FILES or path.suffix in PAPER.get(path.parent.name, set())


def read_asked(query: Mapping[str, Sequence[str]]) -> Asked:
    """The wanted part of a worklist; what makes no sense counts as not given."""
    page, flagged = _one(query, "page"), _one(query, "flagged")
    return Asked(
        sort=_one(query, "sort"),
        descending=_one(query, "order") != "up",
        page=int(page) if page.isascii() and page.isdigit() and len(page) < 9 else 1,
        flagged=flagged if flagged in ("only", "without") else "all",
    )


def _turned(column: str, sort: str, asked: Asked) -> str:
    """The order that a column's link asks for: the other one where it is sorted by already."""
    if column != sort:
        return "up" if column == KEY else "down"
    return "up" if asked.descending else "down"


def _one(query: Mapping[str, Sequence[str]], name: str) -> str:
    return next(iter(query.get(name, ())), "")


def _headline(entry: Entry) -> dict[str, str]:
    """What the list says of a run: data, size, and its main figures with intervals."""
    evaluation = entry.evaluation
    findings = evaluation.get("findings") or {}
    if not findings:
        return {"data": "", "size": "", "auroc": "", "sensitivity": "", "specificity": ""}
    data = evaluation.get("dataset") or {}
    source = next((str(data[k]) for k in ("name", "manifest", "scores") if data.get(k)), "")
    counts = evaluation.get("n") or {}
    patients = counts.get("patients") or counts.get("images") or ""
    first = next(iter(findings.values())) if len(findings) == 1 else {}
    area = first.get("auroc") if first else (evaluation.get("macro") or {}).get("auroc")
    return {
        "data": source,
        "size": f"{patients:,} patients" if counts.get("patients") else f"{patients} images",
        "auroc": format_estimate(area) + ("" if first else f", mean of {len(findings)}"),
        "sensitivity": format_estimate(first.get("sensitivity"), percent=True) if first else "",
        "specificity": format_estimate(first.get("specificity"), percent=True) if first else "",
    }


def _summary(entry: Entry) -> Mapping[str, Any]:
    from medres.files import read_json

    try:
        values = read_json(entry.folder / "summary.json")
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _missing(words: str) -> Answer:
    return _page("message", 404, title="Not found", words=words)


def _page(template: str, status: int = 200, **values: Any) -> Answer:
    environment = template_environment()
    text = environment.get_template(f"serving/{template}.html").render(
        research_use=RESEARCH_USE, quote=quote, **values
    )
    return Answer(status, text.encode())
