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


def without_bulk(svg: str) -> str:
    """Returns SVG without turns by nothing and without indentation.

    Example:
        >>> without_bulk('<g> <text transform="rotate(-0 1 2)" x="1">a</text></g>')
        '<g><text x="1">a</text></g>'
    """
    svg = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", svg)
    svg = re.sub(r">\s+<", "><", svg)
    return re.sub(r"\s*\n\s*", " ", svg)


def rounded(path: str) -> str:
    """Returns coordinates with two digits behind each point: a page is half as large for it.

    Example:
        >>> rounded("M 57.328125 205.6 L 1.005 2")
        'M 57.33 205.6 L 1 2'
    """
    return re.sub(
        r"\d+\.\d{3,}", lambda number: f"{float(number.group()):.2f}".rstrip("0").rstrip("."), path
    )
