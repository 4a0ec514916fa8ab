"""The report as one HTML file: nothing in it is loaded from elsewhere, nothing in it runs."""

from __future__ import annotations

from typing import Any

from conformal_plugin._extras import optional
from conformal_plugin.reporting._class_pages import class_pages
from conformal_plugin.reporting._figures import Figure
from conformal_plugin.reporting._page_view import page_view
from conformal_plugin.reporting._subject import Subject
from conformal_plugin.reporting._svg import STYLE

__all__ = ["page", "pages_of_classes", "require_template_engine", "standalone"]


def page(subject: Subject) -> str:
    """The whole file.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """
    template = _environment().get_template("page.html.jinja")
    return str(template.render(page=page_view(subject), chart_style=STYLE))


def pages_of_classes(subject: Subject) -> dict[str, str]:
    """The files of single classes, by their paths from the report; none where there are few.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """
    template = _environment().get_template("class.html.jinja")
    return {
        one.address: str(template.render(page=one, title=subject.title, chart_style=STYLE))
        for one in class_pages(subject.evidence.evaluation, subject.names)
    }


def require_template_engine() -> None:
    """Import it, before any work.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """
    _jinja2()


def standalone(figure: Figure) -> str:
    """A chart as an SVG file of its own."""
    paper = ".cp{background:var(--paper)}"
    return figure.svg.replace("><title>", f"><style>{STYLE}{paper}</style><title>", 1) + "\n"


def _environment() -> Any:
    engine = _jinja2()
    return engine.Environment(
        loader=engine.PackageLoader(__package__, "templates"),
        autoescape=True,
        undefined=engine.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _jinja2() -> Any:
    return optional("jinja2", "jinja2", "the page of a report")
