"""The ledger against double_entry.csv, which was worked out from the article and its sources without the
library.
"""

import csv
import math
from pathlib import Path

import pytest

from gpt4lib import ledger

with (Path(__file__).parent / "double_entry.csv").open(newline="") as file:
    ENTRIES = {row["id"]: row for row in csv.DictReader(file)}


def close(ours, theirs, row):
    return math.isclose(ours, float(theirs), rel_tol=float(row["rel_tol"]), abs_tol=1e-300)


def test_both_books_hold_the_same_claims():
    assert list(ENTRIES) == [claim.id for claim in ledger.load().claims if claim.id in ENTRIES]
    chapters = {ledger.load()[claim_id].chapter for claim_id in ENTRIES}
    assert set(ENTRIES) == {claim.id for claim in ledger.load().claims if claim.chapter in chapters}


@pytest.mark.parametrize("claim_id", [i for i, row in ENTRIES.items() if row["stated_low"]])
def test_stated(claim_id):
    row, stated = ENTRIES[claim_id], ledger.load()[claim_id].stated.interval
    assert close(stated.lo, row["stated_low"], row) and close(stated.hi, row["stated_high"], row)


@pytest.mark.parametrize("claim_id", ENTRIES)
def test_derived(claim_id):
    row, claim = ENTRIES[claim_id], ledger.load()[claim_id]
    if row["derived"]:
        assert close(claim.derived, row["derived"], row)
    else:
        assert claim.derived is None and claim.verdict == "not checkable"


@pytest.mark.parametrize("claim_id", [i for i, row in ENTRIES.items() if row["derived"]])
def test_the_entry_is_its_own_arithmetic(claim_id):
    row = ENTRIES[claim_id]
    assert math.isclose(
        eval(row["how"], {"__builtins__": {}}, vars(math) | {}), float(row["derived"]), rel_tol=1e-6
    )
