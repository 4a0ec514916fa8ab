"""Work on several threads, and counts of several ranks."""

from __future__ import annotations

from conformal_plugin.processes._parallel import (
    beside_others as beside_others,
    in_parallel as in_parallel,
)
from conformal_plugin.processes._ranks import (
    all_reduce as all_reduce,
    check_total as check_total,
    total_of_ranks as total_of_ranks,
)
from conformal_plugin.processes._shards import (
    Rank as Rank,
)
