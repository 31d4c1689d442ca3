"""What is known of every input, while a run lasts: from the sources, the headers and the journal.

A temporary SQLite database, which lies on disk as it grows, has no name and ends with the process:
memory stays flat, however large an archive is. Nothing in it is needed afterwards; the journal is.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal

from medres.data.image_rule import ImageRule
from medres.data.pseudonyms import Keys
from medres.errors import RejectReason
from medres.scoring.pictures import Facts, Picture, Planned, Row
from medres.scoring.sources import Found

ELSEWHERE = "another shard"
NOT_FOUND, NO_DECODER = RejectReason.NOT_FOUND.value, RejectReason.NO_DECODER.value
UNREAD = "message IS NOT NULL"
"""Of a file that is refused, or would be if it were this shard's."""
COPY = "a copy of another image"
ADDRESS = "p.name || iif(p.part = '', '', '::' || p.part)"
CACHED_FACTS = 4096  # of an archive whose images have few sizes, nearly all
AGAIN = "again"  # in place of the stamp of a file that is to be looked into once more
MANY = -1  # in place of the frame of a picture that has one alone
OF_IMAGE = f"p.name = ? AND p.part = ? AND p.only IN ({MANY}, ?)"

TABLES = """
CREATE TABLE files(
    name TEXT PRIMARY KEY, stamp TEXT NOT NULL, seen INTEGER NOT NULL DEFAULT 0,
    path TEXT, in_archive INTEGER, place INTEGER, size INTEGER,
    reason TEXT, message TEXT, aside TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE pictures(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, part TEXT NOT NULL, only INTEGER NOT NULL,
    study TEXT NOT NULL, series_uid TEXT, sop_uid TEXT, patient TEXT, facts TEXT NOT NULL,
    left_out TEXT NOT NULL DEFAULT ''
);
CREATE INDEX pictures_of_file ON pictures(name, part, only);
CREATE INDEX pictures_of_study ON pictures(study);
CREATE INDEX pictures_by_instance ON pictures(sop_uid);
CREATE TABLE images(
    picture INTEGER NOT NULL, frame INTEGER NOT NULL, status TEXT NOT NULL DEFAULT 'planned',
    result TEXT, copy INTEGER NOT NULL DEFAULT 0, PRIMARY KEY(picture, frame)
) WITHOUT ROWID;
"""


class Index:
    """See the module.

    Args:
        keys: whose order the tables have, which tells nothing of names.

    Attributes:
        looked_into: how many files were, or were refused or passed by, beside those recalled.
    """

    def __init__(self, keys: Keys) -> None:
        self.database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-16000"):
            self.database.execute(f"PRAGMA {pragma}")
        self.database.create_function("key", 1, keys.of, deterministic=True)
        self.database.executescript(TABLES)
        self.looked_into = 0

    def close(self) -> None:
        """Drop everything."""
        self.database.close()

    # What is there

    def knows(self, found: Found) -> bool:
        """Whether the file was looked into, as it is now; then it is where `found` says."""
        row = self.database.execute(
            "SELECT stamp FROM files WHERE name = ?", (found.name,)
        ).fetchone()
        if row is None or row[0] != found.stamp or found.reason is not None or found.aside:
            return False
        self._place(found)
        return True

    def says_apart(self, found: Found) -> bool:
        """Whether it is known already that the file is passed by or refused, and why."""
        row = self.database.execute(
            "SELECT stamp, coalesce(reason, ''), aside FROM files WHERE name = ?", (found.name,)
        ).fetchone()
        said = (found.stamp, "" if found.aside else found.reason or "", found.aside)
        if row not in (said, (found.stamp, "", ELSEWHERE)):
            return False
        self._place(found)
        return True

    def _place(self, found: Found) -> None:
        self.database.execute(
            "UPDATE files SET seen = 1, path = ?, in_archive = ?, place = ?, size = ? "
            "WHERE name = ?",
            (_path_text(found.path), int(found.in_archive), found.at, found.size, found.name),
        )

    def add(self, entry: Mapping[str, Any], found: Found | None = None) -> None:
        """Take in what the journal says of a file, in place of what was known of it."""
        name = entry["file"]
        self.forget(name)
        self.database.execute(
            "INSERT INTO files(name, stamp, reason, message, aside) VALUES (?, ?, ?, ?, ?)",
            (
                *(name, entry["stamp"], entry.get("reason"), entry.get("message")),
                entry.get("aside", ""),
            ),
        )
        for values in entry.get("pictures", ()):
            picture = Picture.from_json(values)
            row = self.database.execute(
                "INSERT INTO pictures(name, part, only, study, series_uid, sop_uid, patient, facts)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(name, picture.part, picture.frames[0] if len(picture.frames) == 1 else MANY),
                    *(picture.study, picture.series_uid, picture.sop_uid, picture.patient),
                    json.dumps(values[1][-1]),
                ),
            ).lastrowid
            self.database.executemany(
                "INSERT OR IGNORE INTO images(picture, frame) VALUES (?, ?)",
                ((row, frame) for frame in picture.frames),
            )
        if found is not None:
            self._place(found)
            self.looked_into += 1

    def forget(self, name: str) -> None:
        """Drop what is known of a file."""
        self.database.execute(
            "DELETE FROM images WHERE picture IN (SELECT id FROM pictures WHERE name = ?)", (name,)
        )
        self.database.execute("DELETE FROM pictures WHERE name = ?", (name,))
        self.database.execute("DELETE FROM files WHERE name = ?", (name,))

    def record(self, entry: Mapping[str, Any]) -> None:
        """Take in what the journal says of an image of a file as it is known; else nothing."""
        self.database.execute(
            "UPDATE images SET status = ?, result = ? WHERE frame = ? AND picture IN ("
            "SELECT p.id FROM pictures p JOIN files f USING (name) "
            f"WHERE {OF_IMAGE} AND f.stamp = ?)",
            (
                *(entry["status"], json.dumps(entry), entry["frame"]),
                *(entry["image"], entry["part"], entry["frame"], entry["stamp"]),
            ),
        )

    def retry_rejected(self) -> None:
        """Have everything tried again that was refused; what has gone keeps its refusal."""
        self.database.execute("UPDATE images SET status = 'planned' WHERE status = 'rejected'")
        self.database.execute(f"UPDATE files SET stamp = '{AGAIN}' WHERE {UNREAD}")

    def retry_unopened(self) -> None:
        """Have files tried again that were listed and could not be opened."""
        self.database.execute(
            f"UPDATE files SET stamp = '{AGAIN}' WHERE reason = ? AND stamp != ''", (NOT_FOUND,)
        )

    def retry_returned(self) -> None:
        """Have images tried again of files that had gone when they were read, and are back."""
        self.database.execute(
            "UPDATE images SET status = 'planned' WHERE status = 'rejected' "
            "AND json_extract(result, '$.reason') = ? AND picture IN ("
            "SELECT p.id FROM pictures p JOIN files f USING (name) WHERE f.seen = 1)",
            (NOT_FOUND,),
        )

    def sources(self) -> dict[str, Any]:
        """How many files there are, every shard's, and a digest that tells them from others.

        The same of those that cannot be read: of such a file no shard knows whose study it is. One
        that lacks a decoder alone can be, and is refused by the shard of its study.
        """
        files, digest = self._digest("seen = 1")
        unread, unread_digest = self._digest(
            f"seen = 1 AND {UNREAD} AND coalesce(reason, '') != '{NO_DECODER}'"
        )
        return {
            **{"files": files, "digest": digest},
            **{"unread": unread, "unread_digest": unread_digest},
        }

    def _digest(self, which: str) -> tuple[int, str]:
        """Of files: their number, and the sum of their keys, whatever their order and place."""
        count, digest = 0, 0
        names = self.database.execute(f"SELECT key(name || ' ' || size) FROM files WHERE {which}")
        for count, (key,) in enumerate(names, start=1):  # noqa: B007
            digest += int(key, 16)
        return count, f"{digest % 2**80:020x}"

    # What is to be done

    def choose(self, rule: ImageRule) -> None:
        """Leave out what the rule does not accept."""

        @lru_cache(CACHED_FACTS)
        def refuse(facts: str) -> str:
            return rule.refuse(_facts(facts).kind)

        self.database.create_function("refuse", 1, refuse, deterministic=True)
        self.database.execute("UPDATE pictures SET left_out = refuse(facts)")

    def planned(self) -> Iterator[Planned]:
        """The images to be scored; those of a tar in the order in which they lie there."""
        rows = self.database.execute(
            "SELECT p.id, i.frame, p.name, p.part, f.stamp, f.path, f.in_archive, f.place, f.size, "
            "p.facts FROM images i JOIN pictures p ON p.id = i.picture JOIN files f USING (name) "
            "WHERE i.status = 'planned' AND p.left_out = '' "
            "ORDER BY f.path, f.place, p.name, p.part, i.frame"
        )
        for *values, path, in_archive, place, size, facts in rows:
            where = (json.loads(path) if path else None, bool(in_archive), place or 0, size or 0)
            picture, frame, name, part, stamp = values
            yield Planned(picture, frame, name, part, stamp, *where, _facts(facts))

    def count_planned(self) -> Iterator[tuple[Facts, int]]:
        """How many images of each kind are to be scored."""
        rows = self.database.execute(
            "SELECT p.facts, count(*) FROM images i JOIN pictures p ON p.id = i.picture "
            "WHERE i.status = 'planned' AND p.left_out = '' GROUP BY p.facts"
        )
        for facts, count in rows:
            yield _facts(facts), count

    def mark_copies(self) -> None:
        """Of a study's images that are one instance with equal pixels in several files, keep one.

        The first by name; of one study, since a shard knows of no other's.
        """
        self.database.execute("UPDATE images SET copy = 0 WHERE copy = 1")
        self.database.execute(
            "UPDATE images SET copy = 1 WHERE (picture, frame) IN ("
            "SELECT id, frame FROM (SELECT p.id, i.frame, row_number() OVER ("
            "PARTITION BY p.study, p.sop_uid, i.frame, json_extract(i.result, '$.sha256') "
            "ORDER BY p.name"
            ") AS place FROM images i JOIN pictures p ON p.id = i.picture "
            "WHERE p.sop_uid != '' AND p.left_out = '' AND i.status = 'scored' AND p.sop_uid IN ("
            "SELECT sop_uid FROM pictures WHERE sop_uid != '' GROUP BY sop_uid HAVING count(*) > 1)"
            ") WHERE place > 1)"
        )

    # What has come of it

    def scored(self, order: Literal["image", "study"] = "image") -> Iterator[Row]:
        """The images of the tables, in the order of their keys, or study by study."""
        by_image = f"key({ADDRESS}), i.frame"
        yield from self._rows(
            "i.status = 'scored' AND i.copy = 0 AND p.left_out = ''",
            by_image if order == "image" else f"key(p.study), p.study, {by_image}",
        )

    def study(self, study: str) -> list[Row]:
        """The scored images of one study."""
        return [
            *self._rows(
                "i.status = 'scored' AND p.left_out = '' AND p.study = ?",
                f"key({ADDRESS}), i.frame",
                (study,),
            )
        ]

    def studies_of(self, name: str, part: str, frame: int) -> list[str]:
        """The study of an image."""
        rows = self.database.execute(
            "SELECT p.study FROM pictures p JOIN images i ON i.picture = p.id "
            f"WHERE {OF_IMAGE} AND i.frame = ?",
            (name, part, frame, frame),
        )
        return [study for (study,) in rows]

    def unscored(self, study: str) -> int:
        """How many images of a study are yet to be scored."""
        return self._count(
            "images i JOIN pictures p ON p.id = i.picture "
            "WHERE i.status = 'planned' AND p.left_out = '' AND p.study = ?",
            (study,),
        )

    def _rows(self, where: str, order: str, values: tuple[str, ...] = ()) -> Iterator[Row]:
        rows = self.database.execute(
            "SELECT p.name, p.part, i.frame, p.study, p.series_uid, p.sop_uid, p.facts, i.result "
            f"FROM images i JOIN pictures p ON p.id = i.picture WHERE {where} ORDER BY {order}",
            values,
        )
        for name, part, frame, study, series_uid, sop_uid, facts, result in rows:
            uids = (study, series_uid, sop_uid)
            yield Row(name, part, frame, *uids, _facts(facts), json.loads(result))

    def rejected(self) -> Iterator[tuple[str, int | None, str, str]]:
        """Name, frame (None for a whole file), reason and words of all that cannot be scored."""
        rows = self.database.execute(
            "SELECT * FROM ("
            "SELECT name AS address, NULL AS frame, reason, message FROM files "
            f"WHERE reason IS NOT NULL UNION ALL SELECT {ADDRESS}, i.frame, "
            "json_extract(i.result, '$.reason'), json_extract(i.result, '$.message') "
            "FROM images i JOIN pictures p ON p.id = i.picture "
            "WHERE i.status = 'rejected' AND p.left_out = '') ORDER BY key(address), frame"
        )
        yield from rows

    def not_chosen(self) -> Iterator[tuple[str, int | None, str]]:
        """Name, frame (None for a whole file) and why, of all that was passed by."""
        rows = self.database.execute(
            "SELECT * FROM ("
            "SELECT name AS address, NULL AS frame, aside FROM files WHERE aside NOT IN ('', ?) "
            f"UNION ALL SELECT {ADDRESS}, i.frame, "
            "iif(i.copy = 1 AND p.left_out = '', ?, p.left_out) "
            "FROM images i JOIN pictures p ON p.id = i.picture "
            "WHERE p.left_out != '' OR i.copy = 1) ORDER BY key(address), frame",
            (ELSEWHERE, COPY),
        )
        yield from rows

    def addresses(self) -> Iterator[tuple[str, str, str, str, str, str]]:
        """Address, study, series UID, SOP UID, patient, and SHA-256 of the first frame's pixels."""
        rows = self.database.execute(
            "SELECT * FROM ("
            "SELECT name AS address, '' AS study, '', '', '', '' FROM files "
            "WHERE aside != ? AND name NOT IN (SELECT name FROM pictures) UNION ALL "
            f"SELECT {ADDRESS}, p.study, p.series_uid, "
            "p.sop_uid, p.patient, coalesce((SELECT json_extract(result, '$.sha256') FROM images "
            "WHERE picture = p.id ORDER BY frame LIMIT 1), '') FROM pictures p) "
            "ORDER BY key(address), key(study)",
            (ELSEWHERE,),
        )
        yield from rows

    # Counts

    def counts(self) -> dict[str, int]:
        """Of inputs (images, and files that are none) and what has become of them."""
        whole = "files WHERE aside != ? AND name NOT IN (SELECT name FROM pictures)"
        joined = "images i JOIN pictures p ON p.id = i.picture WHERE "
        return {
            "files": self._count("files WHERE aside != ?", (ELSEWHERE,)),
            "inputs": self._count(whole, (ELSEWHERE,)) + self._count("images"),
            "images_scored": self._count(
                f"{joined} i.status = 'scored' AND i.copy = 0 AND p.left_out = ''"
            ),
            "rejected": self._count("files WHERE reason IS NOT NULL")
            + self._count(f"{joined} i.status = 'rejected' AND p.left_out = ''"),
            "not_chosen": self._count("files WHERE aside NOT IN ('', ?)", (ELSEWHERE,))
            + self._count(f"{joined} p.left_out != '' OR i.copy = 1"),
            "planned": self._count(f"{joined} i.status = 'planned' AND p.left_out = ''"),
        }

    def count_studies(self) -> tuple[int, int]:
        """How many studies there are, and in how many of them an image was chosen."""
        row: tuple[int, int] = self.database.execute(
            "SELECT count(DISTINCT study), "
            "count(DISTINCT CASE WHEN left_out = '' THEN study END) FROM pictures"
        ).fetchone()
        return row

    def count_mixed_studies(self) -> int:
        """How many studies have chosen images of several patients, by their Patient ID."""
        return self._count(
            "(SELECT study FROM pictures WHERE left_out = '' AND patient != '' GROUP BY study "
            "HAVING count(DISTINCT patient) > 1)"
        )

    def tally(self, what: Literal["rejected", "not_chosen", "no_decoder"]) -> dict[str, int]:
        """How often each reason was given, the most frequent first."""
        counts: dict[str, int] = {}
        if what == "no_decoder":
            reasons: Iterable[str] = (m for _, _, r, m in self.rejected() if r == "no_decoder")
        elif what == "rejected":
            reasons = (reason for _, _, reason, _ in self.rejected())
        else:
            reasons = (why for _, _, why in self.not_chosen())
        for reason in reasons:
            counts[reason] = counts.get(reason, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def _count(self, where: str, values: tuple[str, ...] = ()) -> int:
        count: int = self.database.execute(f"SELECT count(*) FROM {where}", values).fetchone()[0]
        return count


def _facts(text: str) -> Facts:
    return Facts.from_json(json.loads(text))


def _path_text(path: str) -> str:
    """As JSON, since a path's bytes need not be text."""
    return json.dumps(path)
