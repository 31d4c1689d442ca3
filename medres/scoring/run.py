"""One run over sources: look, plan, score, write; with a results folder, or without.

::

    with open_run(out, sources, model, settings, keys) as run:
        run.look()                       headers, and what the journal knows
        plan = run.plan()                what is about to be done
        for batch in run.score(): ...    each batch is on the disk when it is given
        run.write()                      tables and summary
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from medres.bundle.directory import Model
from medres.data.image_rule import ImageRule
from medres.data.pseudonyms import Keys
from medres.errors import ConfigError, ResultsError
from medres.files import write_json
from medres.imaging.isolated import IsolatedReader
from medres.imaging.limits import LIMITS, Limits
from medres.imaging.reader_pool import ReaderPool
from medres.scoring.combine import Rule, check_rule
from medres.scoring.guarding import GuardCounts, GuardMode
from medres.scoring.index import Index
from medres.scoring.journal import Journal
from medres.scoring.look import ALONE, Look, Shard
from medres.scoring.plan import Plan, make_plan
from medres.scoring.scorer import OwnScorer, Scorer
from medres.scoring.sources import Found, find_files
from medres.scoring.summary import Throughput, summarise
from medres.scoring.tables import Tables, remove_leftovers

SCHEMA = "medres.scores/1"
MOST_SECONDS = 86_400
FollowFiles = Callable[[Iterable[Found]], Iterable[Found]]


@dataclass(frozen=True)
class Settings:
    """How a run scores.

    Args:
        device: where the network computes.
        precision: of the network; fp32 gives the same scores on every device, to rounding.
        batch_size: images that are kept together; no score depends on it.
        workers: reading processes; None for one a processor, at most 8.
        rule: which images are scored; None for the model's own.
        combine: from images to studies.
        shard: whose studies are scored.
        limits: of memory and time for reading an image.
        guard: what happens to images of another kind, where the model has a guard: mark gives
            them their scores and says so, withhold gives neither them nor their studies scores,
            off does not ask.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: Literal["fp32", "bf16"] = "fp32"
    batch_size: int = 16
    workers: int | None = None
    rule: ImageRule | None = None
    combine: Rule = "mean"
    shard: Shard = ALONE
    limits: Limits = LIMITS
    guard: GuardMode = "mark"


class ScoringRun:
    """See the module; made by `open_run` and `unrecorded_run`.

    Args:
        sources: folders, files, archives, manifests.
        model: that scores.
        settings: how.
        keys: of the site.
        journal: of a results folder; None keeps nothing.
        leave_out: paths that are no input.
    """

    def __init__(
        self,
        sources: Sequence[Path],
        model: Model | Scorer,
        settings: Settings,
        keys: Keys,
        *,
        journal: Journal | None = None,
        leave_out: Sequence[Path] = (),
    ) -> None:
        self.scorer = as_scorer(model)
        self.record = record = self.scorer.record
        check_rule(settings.combine, record.kind)
        self.sources, self.settings, self.keys = sources, settings, keys
        self.journal, self.leave_out = journal, leave_out
        self.rule = record.image_rule if settings.rule is None else settings.rule
        self.index, self.readers = Index(keys), ReaderPool(settings.workers, settings.limits)
        with ExitStack() as stack:
            stack.callback(self.index.close)
            stack.callback(self.readers.close)
            self.readers.start()
            self.engine = self.scorer.build_engine(settings, self.readers)
            self._open = stack.pop_all()
            self._open.callback(self.engine.close)
        self._looking_seconds, self._seconds, self._images = 0.0, 0.0, 0
        self._opened: set[tuple[str, str]] = set()
        self._looked = False

    def close(self) -> None:
        """End the reading processes and drop the index."""
        self._open.close()

    def recall(self, *, retry_rejected: bool = False) -> None:
        """Take in what the journal knows.

        Args:
            retry_rejected: but for what was rejected, which is tried again.
        """
        assert self.journal is not None
        for entry in self.journal.replay():
            if "file" in entry:
                self.index.add(entry)
            else:
                self.index.record(entry)
        if retry_rejected:
            self.index.retry_rejected()
        else:
            self.index.retry_unopened()

    def look(
        self,
        *,
        follow: FollowFiles = lambda files: files,
        keep: Callable[[Found], bool] = lambda _: True,
    ) -> int:
        """Look into every file that is not known, and choose; returns how many there were.

        Args:
            follow: wraps the files, for a progress bar.
            keep: whether a file is looked into now.

        Raises:
            ManifestError: a source that is not there.
            ResultsError: the journal cannot be written.
        """
        start, before = time.monotonic(), self.index.looked_into
        look = Look(
            self.index,
            self._commit,
            self.keys,
            self.readers,
            self.settings.shard,
            follow,
            self._opened,
            self.scorer.whole_files,
        )
        look.into(file for file in self._files() if keep(file))
        if not self._looked:  # once a start, else a folder would be watched for nothing else
            self.index.retry_returned()
            self._looked = True
        self.index.choose(self.rule)
        self._looking_seconds += time.monotonic() - start
        return self.index.looked_into - before

    def _files(self) -> Iterator[Found]:
        def references(path: str) -> list[tuple[str, ...]]:
            return self.readers.now(IsolatedReader.read_references, path)

        return find_files(self.sources, references, leave_out=self.leave_out)

    def plan(self) -> Plan:
        """What is about to be done; it takes two batches of time on the device to foretell."""
        planned = self.index.counts()["planned"]
        return make_plan(
            self.index,
            self.rule,
            image_seconds=self.engine.seconds_an_image() if planned else 0.0,
            workers=self.settings.workers,
            together=self.settings.device.type == "cpu",
            own_chain=self.scorer.whole_files,
        )

    def score(self) -> Iterator[list[dict[str, Any]]]:
        """What came of each planned image, by batches; kept before it is given.

        Raises:
            ResultsError: the journal cannot be written.
        """
        start = time.monotonic()
        for outcomes in self.engine.score(self.index.planned()):
            self._commit(outcomes)
            for entry in outcomes:
                self.index.record(entry)
            self._images += len(outcomes)
            yield outcomes
        self._seconds += time.monotonic() - start

    def _commit(self, entries: Iterable[Mapping[str, Any]]) -> None:
        if self.journal is not None:
            self.journal.commit(entries)

    def write(self, out: Path, *, with_uids: bool = False) -> dict[str, Any]:
        """Write tables and summary into the results folder; returns the summary.

        Raises:
            ResultsError: what went in is not what came out, or a table cannot be written.
        """
        self.index.mark_copies()
        tables = Tables(
            self.index,
            self.record,
            self.keys,
            self.settings.combine,
            with_uids,
            withhold=self.settings.guard == "withhold",
        )
        summary = {"schema": SCHEMA, **self._origin(), **self._figures()}
        check_complete(summary)
        try:
            tables.write(out)
            write_json(out / "summary.json", summary)
        except OSError as error:
            raise ResultsError(
                f"{out}: the tables cannot be written ({error.strerror}); make room, and start the "
                "same command again: the scores are kept"
            ) from error
        return summary

    def _figures(self) -> dict[str, Any]:
        throughput = Throughput(self._images, self._seconds, self._looking_seconds)
        guard = GuardCounts(self.engine.guard, self.settings.guard)
        figures = summarise(self.index, self.record, self.settings.combine, guard)
        return {**figures, "throughput": throughput.as_json()}

    def _origin(self) -> dict[str, Any]:
        assert self.journal is not None
        shard = self.settings.shard
        return {
            "findings": list(self.record.findings),
            "thresholds": {n: t.as_json() for n, t in self.record.thresholds.items()},
            "bands": {name: band.as_json() for name, band in self.record.bands.items()},
            "weights_sha256": self.record.weights_sha256,
            "bundle": self.scorer.title,
            "model_digest": self.scorer.digest,
            "preprocessing_digest": self.scorer.preprocessing,
            "precision": self.settings.precision,
            "combine": self.settings.combine,
            "image_rule": self.rule.as_json(),
            "guard_digest": self.journal.identity["guard"],
            "secret": self.journal.identity["secret"],
            "sources": self.index.sources(),
            "shard": {"number": shard.number, "of": shard.count},
        }


def check_complete(summary: Mapping[str, Any]) -> None:
    """Refuse results in which an input is neither scored nor rejected nor passed by.

    Raises:
        ResultsError: it would be a fault of medres.
    """
    parts = sum(summary[name] for name in ("images_scored", "rejected", "not_chosen"))
    if parts != summary["inputs"]:
        raise ResultsError(
            f"of {summary['inputs']} inputs, {parts} are scored, rejected or not chosen; the rest "
            "is unaccounted for: please report it"
        )


@contextmanager
def open_run(
    out: Path,
    sources: Sequence[Path],
    model: Model | Scorer,
    settings: Settings,
    keys: Keys,
    *,
    retry_rejected: bool = False,
) -> Generator[ScoringRun, None, None]:
    """A run that goes on where an earlier one on the folder stopped.

    Args:
        out: the results folder; no other process may have it open.
        sources: see `medres.scoring.sources`.
        model: that scores.
        settings: how.
        keys: of the site.
        retry_rejected: try again what was rejected.

    Raises:
        ResultsError: the folder is in use, or holds results of another model, other sources, ...
        ConfigError: a setting that is not accepted.
    """
    check_settings(settings)
    scorer = as_scorer(model)
    identity = _identity(sources, scorer, settings, keys)
    with room_for_index(), _open_journal(out, identity, keys) as journal:
        remove_leftovers(out)
        run = ScoringRun(sources, scorer, settings, keys, journal=journal, leave_out=[out])
        try:
            run.recall(retry_rejected=retry_rejected)
            yield run
        finally:
            run.close()


def as_scorer(model: Model | Scorer) -> Scorer:
    """A model of medres as a run takes it; any other is that already."""
    return OwnScorer(model) if isinstance(model, Model) else model


@contextmanager
def room_for_index() -> Generator[None, None, None]:
    """Say what to do where the index finds no room, which it takes in the temporary folder.

    Raises:
        ResultsError: it has found none.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise ResultsError(
            f"the run's index, which lies in the temporary folder, cannot grow ({error}); make "
            "room there, or let TMPDIR name another folder, and start the same command again"
        ) from error


def _open_journal(out: Path, identity: Mapping[str, str], keys: Keys) -> Journal:
    try:
        return Journal(out, identity, keys)
    except OSError as error:
        raise ResultsError(
            f"{out}: no results can be written there ({error.strerror}); make room, or give a "
            "folder in which you may write"
        ) from error


def check_settings(settings: Settings) -> None:
    """Refuse what cannot be meant.

    Raises:
        ConfigError: a batch, a number of workers, a time or a shard that there cannot be.
    """
    shard, seconds = settings.shard, settings.limits.read_seconds
    if not 1 <= seconds <= MOST_SECONDS:
        raise ConfigError(
            f"read seconds: {seconds} is not accepted; give 1 to {MOST_SECONDS}, a day"
        )
    if settings.batch_size < 1:
        raise ConfigError(f"batch size: {settings.batch_size} is not accepted; give 1 or more")
    if settings.workers is not None and settings.workers < 1:
        raise ConfigError(f"workers: {settings.workers} is not accepted; give 1 or more")
    if shard.count < 1 or not 0 <= shard.number < shard.count:
        raise ConfigError(
            f"shard: {shard.number} of {shard.count} is not accepted; shards are counted from 0"
        )


def _identity(
    sources: Sequence[Path], scorer: Scorer, settings: Settings, keys: Keys
) -> dict[str, str]:
    paths = "\0".join(os.path.realpath(source) for source in sources)
    shard = settings.shard
    return {
        "model": scorer.digest,
        "preprocessing": scorer.preprocessing,
        "precision": settings.precision,
        "guard": "off" if settings.guard == "off" else scorer.guard,
        "secret": keys.of("medres"),
        "set of sources": keys.of(paths),
        "shard": f"{shard.number} of {shard.count}",
    }
