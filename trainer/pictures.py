"""Drawings as SVG, whose colours the page decides, and as PNG, in the light ones."""

from __future__ import annotations

import io
from html import escape

from .config import TrainerError
from .figures import INKS, Box, Dot, Drawing, Path, Text

SHARP = 2  # pixels of a PNG for one of the drawing
FINE = 2  # a PNG is drawn so many times larger still, then made smaller: smooth edges
DASH = (6.0, 4.0)
REMEDY = "the pictures as files need Pillow: pip install 'nafx-rack[report]'"
PLAIN = str.maketrans({"−": "-", "–": "-", "×": "x", "…": "...", "’": "'"})  # Pillow's own letters are few


def css(dark: bool) -> str:
    """The inks as CSS variables."""
    return "".join(f"--{name}:{pair[dark]};" for name, pair in INKS.items())


def svg(drawing: Drawing) -> str:
    """An SVG element for a page that has the variables of `css`."""
    marks = "".join(_element(mark) for mark in drawing.marks)
    size = f'viewBox="0 0 {drawing.width} {drawing.height}" width="{drawing.width}"'
    label = escape(drawing.title, quote=True)
    return f'<svg {size} role="img" aria-label="{label}" data-figure="{escape(drawing.name, quote=True)}">{marks}</svg>'


def _element(mark) -> str:
    note = f"<title>{escape(mark.note)}</title>" if getattr(mark, "note", "") else ""
    match mark:
        case Text(x, y, words, anchor, ink, size, up, bold):
            turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if up else ""
            weight = ' font-weight="600"' if bold else ""
            return (
                f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size:g}"{weight}{turn} '
                f'fill="{_fill(ink)}">{escape(words)}</text>'
            )
        case Path(points, ink, width, dash):
            places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            broken = f' stroke-dasharray="{DASH[0]:g} {DASH[1]:g}"' if dash else ""
            return (
                f'<polyline points="{places}" fill="none" stroke="{_fill(ink)}" stroke-width="{width:g}" '
                f'stroke-linejoin="round"{broken}/>'
            )
        case Box(x, y, width, height, ink):
            size = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
            return f'<rect {size} fill="{_fill(ink)}">{note}</rect>'
        case Dot(x, y, radius, ink):
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{_fill(ink)}">{note}</circle>'
    raise TypeError(f"{mark!r}: is no mark")


def _fill(ink: str) -> str:
    return f"var(--{ink})" if ink in INKS else ink


def can_png() -> bool:
    """Whether Pillow is there."""
    try:
        import PIL.ImageDraw  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        return False
    return True


def png(drawing: Drawing) -> bytes:
    """A PNG's bytes. Raises TrainerError without Pillow."""
    try:
        from PIL import Image, ImageDraw  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise TrainerError(REMEDY) from None
    scale = SHARP * FINE
    image = Image.new("RGB", (drawing.width * scale, drawing.height * scale), _light("paper"))
    pen = ImageDraw.Draw(image)
    for mark in drawing.marks:
        match mark:
            case Path(points, ink, width, dash):
                for part in _dashes(points) if dash else [points]:
                    places = [(x * scale, y * scale) for x, y in part]
                    pen.line(places, fill=_light(ink), width=max(1, round(width * scale)), joint="curve")
            case Box(x, y, width, height, ink):
                if width > 0 and height > 0:
                    corners = [x * scale, y * scale, (x + width) * scale - 1, (y + height) * scale - 1]
                    if corners[2] >= corners[0] and corners[3] >= corners[1]:
                        pen.rectangle(corners, fill=_light(ink))
            case Dot(x, y, radius, ink):
                round_ = [(x - radius) * scale, (y - radius) * scale, (x + radius) * scale, (y + radius) * scale]
                pen.ellipse(round_, fill=_light(ink))
            case Text():
                _write(image, mark, scale)
    image = image.resize((drawing.width * SHARP, drawing.height * SHARP), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    return data.getvalue()


def _light(ink: str) -> str:
    return INKS[ink][0] if ink in INKS else ink


def _write(image, text: Text, scale: int) -> None:
    from PIL import Image, ImageDraw  # pyright: ignore[reportMissingImports]

    anchor = {"start": "ls", "middle": "ms", "end": "rs"}[text.anchor]
    words, face = text.words.translate(PLAIN), _font(text.size * scale)
    style = {"fill": _light(text.ink), "font": face, "anchor": anchor}
    style |= {"stroke_width": round(0.025 * text.size * scale), "stroke_fill": _light(text.ink)} if text.bold else {}
    if not text.up:
        ImageDraw.Draw(image).text((text.x * scale, text.y * scale), words, **style)
        return
    side = round(2 * text.size * scale + ImageDraw.Draw(image).textlength(words, face))
    turned = Image.new("L", (side, side))
    ImageDraw.Draw(turned).text((side // 2, side // 2), words, font=face, anchor=anchor, fill=255)
    turned = turned.rotate(90)
    image.paste(_light(text.ink), (round(text.x * scale) - side // 2, round(text.y * scale) - side // 2), turned)


def _font(size: float):
    from PIL import ImageFont  # pyright: ignore[reportMissingImports]

    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return ImageFont.load_default(size)


def _dashes(points) -> list[list[tuple[float, float]]]:
    """A line as its strokes."""
    strokes: list[list[tuple[float, float]]] = [[tuple(points[0])]]
    on, left = True, DASH[0]
    for (x0, y0), (x1, y1) in zip(points[:-1], points[1:], strict=True):
        length, done = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5, 0.0
        while length - done > left:
            done += left
            at = (x0 + (x1 - x0) * done / length, y0 + (y1 - y0) * done / length)
            if on:
                strokes[-1].append(at)
            else:
                strokes.append([at])
            on = not on
            left = DASH[0] if on else DASH[1]
        left -= length - done
        if on:
            strokes[-1].append((x1, y1))
    return [stroke for stroke in strokes if len(stroke) > 1]
