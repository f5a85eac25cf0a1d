"""A figure of matplotlib as SVG to stand inside of an HTML page, in the colours of the page."""

import io
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
from matplotlib.figure import Figure

from analysis.figures.arm_figures import GREY, GRID

SVG = "http://www.w3.org/2000/svg"
LINK = "{http://www.w3.org/1999/xlink}href"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
# What is drawn in black, grey, or as the grid takes the page's colours, so that a dark page has light letters.
_COLOURS = {"#000000": "currentColor", "#262626": "currentColor", GREY: "var(--muted)", GRID: "var(--line)"}


def inline_svg(figure: Figure, label: str, name: str) -> str:
    """Return the figure as one `svg` element.

    Letters are drawn as outlines, so no font is needed; `label` says to a screen reader what is to be seen.

    Args:
        figure: is drawn without a background.
        label: of the picture.
        name: of the figure in its page; ids begin with it, so that no two figures share one.
    """
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": name}):
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(content.getvalue())  # without its comments and its document type
    for meta in root.findall(f"{{{SVG}}}metadata"):
        root.remove(meta)
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{SVG}}}")
        for key, value in list(element.attrib.items()):
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif key == LINK:
                del element.attrib[key]
                element.set("href", f"#{name}-{value.removeprefix('#')}")
            else:
                shown = _REFERENCE.sub(rf"url(#{name}-\1)", value)
                for colour, of_page in _COLOURS.items():
                    shown = shown.replace(colour, of_page)
                element.set(key, shown)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    root.attrib |= {"role": "img", "aria-label": label}
    root.attrib.pop("version", None)
    root.set("fill", "currentColor")  # of letters, which have no colour of their own
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)
