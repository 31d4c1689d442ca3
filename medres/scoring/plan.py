"""What a run is about to do, in figures and words, before it does it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from medres.data.image_rule import ImageRule
from medres.imaging.reader_pool import count_readers
from medres.scoring.index import Index

# Milliseconds a megapixel from file to network input (docs/results.md), by transfer syntax.
READING_MS = {
    "1.2.840.10008.1.2.1.99": 10.0,  # deflated
    "1.2.840.10008.1.2.4.50": 4.0,  # JPEG baseline
    "1.2.840.10008.1.2.4.57": 12.0,  # JPEG lossless
    "1.2.840.10008.1.2.4.70": 12.0,
    "1.2.840.10008.1.2.4.80": 24.0,  # JPEG-LS
    "1.2.840.10008.1.2.4.81": 24.0,
    "1.2.840.10008.1.2.4.90": 100.0,  # JPEG 2000
    "1.2.840.10008.1.2.4.91": 100.0,
    "1.2.840.10008.1.2.5": 10.0,  # RLE
}
OTHER_MS = 2.5
OPENING_MS = 1.5  # a file, whatever its size


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Args:
        counts: see `Index.counts`.
        studies: in the sources.
        studies_chosen: of them, with an image to be scored or scored already.
        rejected: reason codes with their counts.
        not_chosen: why, with counts.
        missing_decoders: what lacks, with counts.
        mixed_studies: with images of several patients.
        rule: that chose.
        expected_seconds: from here to the end.
        own_chain: whether images are read by a model's own chain, whose time nobody foresees.
    """

    counts: Mapping[str, int]
    studies: int
    studies_chosen: int
    rejected: Mapping[str, int]
    not_chosen: Mapping[str, int]
    missing_decoders: Mapping[str, int]
    mixed_studies: int
    rule: ImageRule
    expected_seconds: float
    own_chain: bool = False

    def lines(self) -> list[str]:
        """For people."""
        counts = self.counts
        studies = f"{self.studies_chosen} of {self.studies} studies"
        lines = [f"plan: {counts['planned']} images to score, {studies}, {counts['files']} files"]
        if counts["images_scored"]:
            lines.append(f"  {counts['images_scored']} images were scored before, and stay")
        lines.append(f"  chosen: {self.rule.in_words}")
        if self.not_chosen:
            lines.append(f"  {counts['not_chosen']} not chosen: {_listed(self.not_chosen)}")
        if self.rejected:
            lines.append(f"  {counts['rejected']} rejected: {_listed(self.rejected)}")
        for lack, count in self.missing_decoders.items():
            lines.append(f"  {count} {'file' if count == 1 else 'files'}: {lack}")
        if self.mixed_studies:
            lines.append(f"  {mixed_in_words(self.mixed_studies)}")
        more = " beside what the bundle's own chain takes" if self.own_chain else ""
        lines.append(f"  expected time: {_duration(self.expected_seconds)}{more}")
        return lines


def make_plan(
    index: Index,
    rule: ImageRule,
    *,
    image_seconds: float,
    workers: int | None,
    together: bool,
    own_chain: bool = False,
) -> Plan:
    """The plan for what an index holds.

    Args:
        index: looked into and chosen from.
        rule: that was chosen by.
        image_seconds: that the network takes for an image.
        workers: reading processes; None for one a processor, at most 8.
        together: whether reading and the network share their processors.
        own_chain: see `Plan`.
    """
    counts = index.counts()
    studies, chosen = index.count_studies()
    readers = count_readers(workers)
    reading, network = _reading_seconds(index) / readers, counts["planned"] * image_seconds
    return Plan(
        counts=counts,
        studies=studies,
        studies_chosen=chosen,
        rejected=index.tally("rejected"),
        not_chosen=index.tally("not_chosen"),
        missing_decoders=index.tally("no_decoder"),
        mixed_studies=index.count_mixed_studies(),
        rule=rule,
        expected_seconds=reading + network if together else max(reading, network),
        own_chain=own_chain,
    )


def mixed_in_words(studies: int) -> str:
    """What somebody has to look into, since each of these gets one score."""
    what = "study holds" if studies == 1 else "studies hold"
    what = f"{studies:,} {what} images of several patients"
    return f"{what}, by their Patient ID; keys.parquet tells which"


def _reading_seconds(index: Index) -> float:
    milliseconds = 0.0
    for facts, images in index.count_planned():
        each = READING_MS.get(facts.transfer_syntax_uid, OTHER_MS)
        milliseconds += images * (OPENING_MS + each * facts.rows * facts.columns / 1e6)
    return milliseconds / 1000


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in Counter(counts).most_common())


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"about {max(1, round(seconds))} s"
    if seconds < 3600:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"
