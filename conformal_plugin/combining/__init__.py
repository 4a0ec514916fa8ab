"""Maps of several annotators of the same photos become one."""

from __future__ import annotations

from conformal_plugin.combining._combination import (
    FITTED_ON as FITTED_ON,
    RULES as RULES,
    Combination as Combination,
    mean_of as mean_of,
)
from conformal_plugin.combining._picking import (
    fit_pick as fit_pick,
)
from conformal_plugin.combining._routing import (
    Route as Route,
    fit_route as fit_route,
)
from conformal_plugin.combining._stacking import (
    fit_stack as fit_stack,
)
