"""Where the real data for tests lies, if it is on this machine."""

import os
from pathlib import Path


def real_data_root() -> Path | None:
    """Folder with `data/` and `golden/`, set by MEDRES_TEST_DATA; None where there is none."""
    beside_the_checkout = Path(__file__).parents[1] / "../shared"
    root = Path(os.environ.get("MEDRES_TEST_DATA", beside_the_checkout))
    return root.resolve() if (root / "data").is_dir() else None
