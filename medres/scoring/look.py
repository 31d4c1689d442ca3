"""Headers into the index: every file found is looked into once, in processes of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from medres.data.decoders import describe_lack
from medres.data.pseudonyms import Keys
from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.defined_terms import is_uid
from medres.imaging.grayscale import ImageRecord
from medres.imaging.isolated import IsolatedReader
from medres.imaging.reader_pool import ReaderPool
from medres.imaging.reader_protocol import ReadRequest
from medres.scoring.index import ELSEWHERE, Index
from medres.scoring.pictures import Facts, Picture, address_of
from medres.scoring.sources import Found, members_of

GROUP = 256  # files whose headers are committed together
Commit = Callable[[Iterable[Mapping[str, Any]]], None]


@dataclass(frozen=True)
class Shard:
    """One of several runs that share an archive: whole studies each.

    Args:
        number: of this one, from 0.
        count: of them all.
    """

    number: int = 0
    count: int = 1

    def holds(self, study: str) -> bool:
        """Whether a study is this run's."""
        digest = hashlib.sha256(study.encode()).digest()
        return int.from_bytes(digest[:8]) % self.count == self.number


ALONE = Shard()


@dataclass(frozen=True)
class Look:
    """How files are looked into.

    Args:
        index: that takes what is found.
        commit: to the journal, before the index has it.
        keys: stand-ins for what a header has in place of a UID.
        readers: that open the files.
        shard: whose studies are of interest.
        follow: wraps the files, for a progress bar.
        opened: archives that this run has looked into already.
        whole_files: whether a file counts as one image, whatever it holds, and who scores it reads
            it too: what medres' own reading has against a file that is one is no refusal then.
    """

    index: Index
    commit: Commit
    keys: Keys
    readers: ReaderPool
    shard: Shard = ALONE
    follow: Callable[[Iterable[Found]], Iterable[Found]] = lambda files: files
    opened: set[tuple[str, str]] = field(default_factory=set)
    whole_files: bool = False

    def into(self, files: Iterable[Found]) -> None:
        """Look into files, then into those that are archives."""
        archives: list[Found] = []
        self._read(self.follow(files), archives)
        if archives:
            self._read(self.follow(chain.from_iterable(map(self._members, archives))), None)
            self.opened.update((archive.name, archive.stamp) for archive in archives)

    def _read(self, files: Iterable[Found], archives: list[Found] | None) -> None:
        """Headers, or why there are none; archives are kept for later, or refused within one."""
        entries: list[tuple[dict[str, Any], Found]] = []
        requests = ((found, _request(found)) for found in self._unknown(files, entries))
        answers = self.readers.read_as_done(IsolatedReader.read_records, requests)
        for found, answer in answers:
            if archives is not None and _is_archive(answer):
                self.index.forget(found.name)  # it may have been something else before
                archives.append(found)
                continue
            self._append(entries, self._entry(found, answer), found)
        self._keep(entries)

    def _append(
        self, entries: list[tuple[dict[str, Any], Found]], entry: dict[str, Any], found: Found
    ) -> None:
        entries.append((entry, found))
        if len(entries) >= GROUP or len(entry.get("pictures", ())) >= GROUP:
            self._keep(entries)

    def _unknown(
        self, files: Iterable[Found], entries: list[tuple[dict[str, Any], Found]]
    ) -> Iterator[Found]:
        """Files that are to be opened; what is known of the others goes to the entries."""
        for found in files:
            if found.aside or found.reason is not None:
                if not self.index.says_apart(found):
                    self._append(entries, self._apart(found), found)
            elif not self.index.knows(found) and (found.name, found.stamp) not in self.opened:
                yield found

    def _apart(self, found: Found) -> dict[str, Any]:
        head = {"file": found.name, "stamp": found.stamp}
        if not self.shard.holds(found.name):
            unread = found.reason is not None and not found.aside
            return {**head, **(_others(found.message) if unread else OTHERS)}
        if found.aside:
            return {**head, "aside": found.aside}
        assert found.reason is not None
        return {**head, "reason": found.reason.value, "message": found.message}

    def _keep(self, entries: list[tuple[dict[str, Any], Found]]) -> None:
        self.commit(entry for entry, _ in entries)
        for entry, found in entries:
            self.index.add(entry, found)
        entries.clear()

    def _entry(
        self, found: Found, answer: list[tuple[str, ImageRecord]] | UnreadableImageError
    ) -> dict[str, Any]:
        """What the journal has of a file that was opened."""
        head = {"file": found.name, "stamp": found.stamp}
        if self.whole_files:
            answer = _as_whole(found, answer)
        if isinstance(answer, UnreadableImageError):
            if not self.shard.holds(found.name):
                return {**head, **_others(answer.message)}
            return {**head, "reason": answer.reason.value, "message": answer.message}
        pictures = [
            picture for picture in self._pictures(found, answer) if self.shard.holds(picture.study)
        ]
        if not pictures:
            return {**head, **OTHERS}
        lack = describe_lack(answer[0][1])
        if lack and not self.whole_files:
            return {**head, "reason": RejectReason.NO_DECODER.value, "message": lack}
        return {**head, "pictures": [picture.as_json() for picture in pictures]}

    def _pictures(self, found: Found, records: list[tuple[str, ImageRecord]]) -> Iterator[Picture]:
        for part, frames, record, asked_study in _wanted(found, records):
            facts, address = Facts.of(record), address_of(found.name, part)
            study = self._uid(record.study_instance_uid) or self._uid(asked_study)
            uids = (self._uid(record.series_instance_uid), self._uid(record.sop_instance_uid))
            patient = self.keys.of_patient(record.patient_id)
            if record.format == "npz" and not study:  # its images are as many patients'
                for frame in frames:
                    yield Picture(part, (frame,), f"{address}#{frame}", *uids, patient, facts)
            else:
                yield Picture(part, frames, study or _not_uid(address), *uids, patient, facts)

    def _uid(self, text: str) -> str:
        """A UID, or a stand-in for what else stands in its place, which may be a name."""
        return text if not text or is_uid(text) else f"~{self.keys.of(text)}"

    def _members(self, archive: Found) -> Iterator[Found]:
        try:
            members = self.readers.now(IsolatedReader.list_members, archive.path)
        except UnreadableImageError as error:
            members = []
            reason, message = error.reason, error.message
        else:
            reason, message = RejectReason.EMPTY_FILE, "an archive that holds no file"
        if not members:
            yield Found(archive.name, archive.path, archive.stamp, reason=reason, message=message)
        yield from members_of(archive, members)


OTHERS = {"aside": ELSEWHERE}
OTHERS_MAY_READ = {
    *(RejectReason.UNSUPPORTED_PHOTOMETRIC, RejectReason.INVALID_HEADER),
    *(RejectReason.FRAME_OUT_OF_RANGE, RejectReason.DECODE_FAILED, RejectReason.NO_DECODER),
}
UNKNOWN = ImageRecord(format="raster", rows=0, columns=0, intensity="display", voi="")
FILES_ALONE = "the model takes files as a whole; name the file alone, with no part and no frame"


def _others(message: str) -> dict[str, str]:
    """What cannot be read here and is another shard's, if that cannot read it either."""
    return {**OTHERS, "message": message}


def _not_uid(address: str) -> str:
    """A study's name from a file's, which may be made of digits and dots alone, as UIDs are."""
    return f"./{address}" if is_uid(address) else address


def _is_archive(answer: object) -> bool:
    return isinstance(answer, UnreadableImageError) and answer.reason is RejectReason.NESTED_ARCHIVE


def _request(found: Found) -> ReadRequest:
    if not found.in_archive:
        return ReadRequest(found.path)
    return ReadRequest(found.name, archive=found.path, at=found.at, size=found.size)


def _as_whole(
    found: Found, answer: list[tuple[str, ImageRecord]] | UnreadableImageError
) -> list[tuple[str, ImageRecord]] | UnreadableImageError:
    """The same of a file that is one image, whoever reads it."""
    if found.frames is not None and {image[:2] for image in found.frames} != {("", 0)}:
        return UnreadableImageError(RejectReason.FRAME_OUT_OF_RANGE, found.name, FILES_ALONE)
    if isinstance(answer, UnreadableImageError):
        return [("", UNKNOWN)] if answer.reason in OTHERS_MAY_READ else answer
    return [("", replace(answer[0][1], number_of_frames=1))]


def _wanted(
    found: Found, records: list[tuple[str, ImageRecord]]
) -> Iterator[tuple[str, range | tuple[int, ...], ImageRecord, str]]:
    """Parts of a file, frames of them that are wanted, the record of the first, a table's study."""
    if found.frames is None:
        for part, record in records:
            yield part, range(record.number_of_frames), record, found.study
        return
    by_part = dict(records)
    frames: dict[tuple[str, str], list[int]] = {}
    for part, frame, study in found.frames:
        frames.setdefault((part, study), []).append(frame)
    for (part, study), together in frames.items():
        yield part, tuple(together), by_part.get(part, records[0][1]), study
