"""`python3 docs`: the site, in a virtual environment that makes itself; prints where it begins."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "docs" / "_build" / "html"
sys.path.insert(0, str(ROOT / ".ci"))

from environment import run  # noqa: E402  # the path above is what makes it importable

if sys.version_info < (3, 11):
    sys.exit(f"Sphinx needs Python 3.11 or newer, this is {sys.version.split()[0]}")

code = run(
    "docs",
    [
        *("-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going"),
        # A page that was read before would be taken without its warnings.
        "--fresh-env",
        *("--conf-dir", str(ROOT / "docs" / "_sphinx")),
        *("--doctree-dir", str(SITE.with_name("doctrees"))),
        *(str(ROOT), str(SITE), *sys.argv[1:]),
    ],
)
if code == 0:
    print(SITE / "index.html")
sys.exit(code)
