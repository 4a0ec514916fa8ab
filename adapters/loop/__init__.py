"""What every host's loop object is made of: its options, its views, and the watch it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformal_plugin._lazy import lazily

if TYPE_CHECKING:
    from conformal_plugin.adapters.loop._host_config import (
        HOST_KEY as HOST_KEY,
        HostConfig as HostConfig,
        Mode as Mode,
    )
    from conformal_plugin.adapters.loop._host_loop import (
        HostLoop as HostLoop,
        beside as beside,
    )
    from conformal_plugin.adapters.loop._views import (
        HOST_PADDING as HOST_PADDING,
        ConformalViews as ConformalViews,
        Targets as Targets,
    )

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "_host_config": (
            "HOST_KEY",
            "HostConfig",
            "Mode",
        ),
        "_host_loop": (
            "HostLoop",
            "beside",
        ),
        "_views": (
            "ConformalViews",
            "HOST_PADDING",
            "Targets",
        ),
    },
)
