"""Labels to annotation tools as masks, and corrected masks back as labels."""

from __future__ import annotations

from conformal_plugin.exchange._fiftyone import (
    returned_masks as returned_masks,
)
from conformal_plugin.exchange._imported import (
    IMPORTED as IMPORTED,
    Imported as Imported,
)
from conformal_plugin.exchange._sent import (
    SENT as SENT,
    Sent as Sent,
    SentPhoto as SentPhoto,
    Sheet as Sheet,
    labels_checksum as labels_checksum,
)
from conformal_plugin.exchange._tools import (
    Returned as Returned,
    export_files as export_files,
    read_returned as read_returned,
    write_export as write_export,
)
from conformal_plugin.exchange._vocabulary import (
    CHECKED as CHECKED,
    DROPPED as DROPPED,
    UNSURE as UNSURE,
    Composed as Composed,
    Layer as Layer,
    Vocabulary as Vocabulary,
)
