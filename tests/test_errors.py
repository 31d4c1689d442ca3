"""The list of reasons is one list: in the code and on the page that users read."""

import re
from pathlib import Path

from medres.errors import RejectReason

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| `(\w+)` \| (.+) \| (.+) \|$", re.MULTILINE)


def test_every_reason_is_documented_with_its_meaning_and_a_remedy() -> None:
    rows = ROW.findall((ROOT / "docs/reject_reasons.md").read_text())
    assert [code for code, _, _ in rows] == [reason.value for reason in RejectReason]
    assert all(len(found) > 15 and len(remedy) > 8 for _, found, remedy in rows)


def test_the_page_is_found_from_the_readme() -> None:
    assert "(docs/reject_reasons.md)" in (ROOT / "README.md").read_text()


def test_every_reason_is_given_somewhere() -> None:
    code = "".join(path.read_text() for path in (ROOT / "medres").rglob("*.py"))
    unused = [name for name in RejectReason.__members__ if f"RejectReason.{name}" not in code]
    assert unused == []
