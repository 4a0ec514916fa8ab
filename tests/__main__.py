"""`python3 tests`: the test suite, in a virtual environment that makes itself."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".ci"))

from environment import run  # noqa: E402  # the path above is what makes it importable

# Where the real photos are at hand, their tests must run: skipping them is a failure.
present = (ROOT.parent / "shared" / "data" / "voc-animals" / "probs").is_dir()
sys.exit(
    run(
        "test",
        [
            *("-m", "pytest", "--rootdir", str(ROOT), str(ROOT / "tests")),
            # Several processes, see conftest.py; `-n 0` after these is one process again.
            *("-n", "auto", "--dist", "worksteal"),
            *sys.argv[1:],
        ],
        {"REQUIRE_REAL_DATA": "1"} if present else None,
    )
)
