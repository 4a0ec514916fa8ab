"""Builds docs/api/: what is public, its signatures and docstrings, and the help of the command.

    python docs/builder            # writes the pages that changed
    python docs/builder --check    # exit code 1 where one is out of date

A module belongs to a page by its package; a name is public where the module's ``__all__`` has it,
less what ``PAGES`` in ``api_public.py`` calls inner. Exit code 1 also where a public name has no
docstring, or one that contradicts its signature.
"""

from __future__ import annotations

import argparse
import sys

from api_pages import build, outdated
from api_writer import API

from conformal_plugin._atomic import atomic_write_text


def main() -> int:
    """Build, then write or check."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if stale")
    check = parser.parse_args().check
    pages, problems = build()
    for problem in problems:
        print(problem, file=sys.stderr)
    stale = outdated(pages)
    for name in stale:
        print(f"{'out of date' if check else 'wrote'}: docs/api/{name}")
        if not check and name in pages:
            atomic_write_text(API / name, pages[name])
        elif not check:
            (API / name).unlink()
    return 1 if problems or (check and stale) else 0


if __name__ == "__main__":
    raise SystemExit(main())
