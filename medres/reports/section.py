"""A part of the evidence page that is made elsewhere."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """What `render_page` takes in among what a reviewer reads, after the figures.

    Attributes:
        anchor: id of the section, unique on the page; every id inside begins with it and a hyphen.
        title: heading, as plain text; the page escapes it.
        body: HTML that is safe as it stands: every text of a user's escaped. Headings begin at
            `<h4>`. Images are `data:` addresses or inline SVG: the page's content security policy
            refuses all else, scripts and event attributes included.
        style: CSS for the body; its selectors begin with the anchor's id.
    """

    anchor: str
    title: str
    body: str
    style: str = ""
