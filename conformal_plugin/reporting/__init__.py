"""One HTML file that shows what a calibration keeps, drops and claims."""

from __future__ import annotations

from conformal_plugin.reporting._class_pages import (
    CLASS_FOLDER as CLASS_FOLDER,
)
from conformal_plugin.reporting._colours import (
    class_colours as class_colours,
)
from conformal_plugin.reporting._evidence import (
    Evidence as Evidence,
    gather as gather,
)
from conformal_plugin.reporting._figures import (
    Figure as Figure,
    all_figures as all_figures,
)
from conformal_plugin.reporting._other_labels import (
    OtherLabels as OtherLabels,
)
from conformal_plugin.reporting._page import (
    page as page,
    pages_of_classes as pages_of_classes,
    require_template_engine as require_template_engine,
    standalone as standalone,
)
from conformal_plugin.reporting._pictures import (
    Example as Example,
    label_picture as label_picture,
    photo_picture as photo_picture,
)
from conformal_plugin.reporting._png import (
    drawn as drawn,
    require_renderer as require_renderer,
)
from conformal_plugin.reporting._review_part import (
    ReviewedPhoto as ReviewedPhoto,
    ReviewPart as ReviewPart,
)
from conformal_plugin.reporting._subject import (
    Subject as Subject,
)
