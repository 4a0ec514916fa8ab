"""Bets against a bounded mean: p-values of a few observations, valid at any number of them."""

from __future__ import annotations

from conformal_plugin.betting._by_group import (
    by_group as by_group,
)
from conformal_plugin.betting._fewest import (
    MOST_AT_HAND as MOST_AT_HAND,
    MOST_TRIED as MOST_TRIED,
    fewest_equal_losses as fewest_equal_losses,
)
from conformal_plugin.betting._order import (
    betting_order as betting_order,
)
from conformal_plugin.betting._pvalues import (
    betting_pvalue as betting_pvalue,
    betting_pvalue_without_replacement as betting_pvalue_without_replacement,
    check_share as check_share,
    hoeffding_bentkus_pvalue as hoeffding_bentkus_pvalue,
)
