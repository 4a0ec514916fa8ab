"""`python3 examples`: the main job, in a virtual environment that makes itself."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".ci"))

from environment import run  # noqa: E402  # the path above is what makes it importable

sys.exit(run("examples", [str(ROOT / "examples" / "quickstart.py"), *sys.argv[1:]]))
