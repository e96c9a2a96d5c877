"""Makes the SVG that Matplotlib writes small enough for a page with many plots."""

import re


def without_idle_names(svg: str) -> str:
    """Returns SVG without the names that nothing in it refers to, which are most of them.

    Example:
        >>> without_idle_names('<g id="a"><path id="b"/><use href="#b"/></g>')
        '<g><path id="b"/><use href="#b"/></g>'
    """
    referred_to = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))

    def kept(found: re.Match[str]) -> str:
        return found.group() if found.group(1) in referred_to else ""

    return re.sub(r' id="([^"]*)"', kept, svg)


def rounded(path: str) -> str:
    """Returns a path with two digits behind each point: a page is half as large for it.

    Example:
        >>> rounded("M 57.328125 205.6 L 1.005 2")
        'M 57.33 205.6 L 1 2'
    """
    return re.sub(
        r"\d+\.\d{3,}", lambda number: f"{float(number.group()):.2f}".rstrip("0").rstrip("."), path
    )
