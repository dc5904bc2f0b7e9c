"""Draws a screen of the terminal as a PNG, with braille, blocks and boxes exact to the pixel. Needs Pillow.

python -m tests.rack.ui.picture FOLDER           every screen at three sizes, on a scripted server
python -m tests.rack.ui.picture FOLDER train xy  these of them
python -m tests.rack.ui.picture FOLDER --live    the README's pictures: a rack that really plays
python -m tests.rack.ui.picture FOLDER --live train T g    the running rack as `train`, after the keys T and g
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

os.environ |= {"TEXTUAL_COLOR_SYSTEM": "truecolor"}  # read when textual is imported
from rich.color import Color  # noqa: E402
from textual.app import App  # noqa: E402

CELL = (14, 28)
FONTS = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono{}.ttf"
BRAILLE = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
# Box drawing: weight of the stroke from the middle to left, right, up and down.
BOXES = {
    "─": (1, 1, 0, 0), "│": (0, 0, 1, 1), "┼": (1, 1, 1, 1), "╭": (0, 1, 0, 1), "╮": (1, 0, 0, 1), "╰": (0, 1, 1, 0),
    "╯": (1, 0, 1, 0), "━": (2, 2, 0, 0), "┃": (0, 0, 2, 2), "┏": (0, 2, 0, 2), "┓": (2, 0, 0, 2), "┗": (0, 2, 2, 0),
    "┛": (2, 0, 2, 0), "╵": (0, 0, 1, 0), "╹": (0, 0, 2, 0),
}  # fmt: skip


def rgb(color: Color | None, default: tuple[int, int, int]) -> tuple[int, int, int]:
    return default if color is None or color.is_default else tuple(color.get_truecolor())


def render(app: App, path: Path, colours: int = 0) -> None:
    """The screen as it stands, as a PNG; `colours` 256 or 16 shows what a poorer terminal makes of it."""
    from PIL import Image, ImageDraw, ImageFont
    from rich.color import ColorSystem

    fonts = [ImageFont.truetype(FONTS.format(style), 22) for style in ("", "-Bold")]
    width, height = CELL
    image = Image.new("RGB", (app.size.width * width, app.size.height * height))
    draw = ImageDraw.Draw(image)
    system = {256: ColorSystem.EIGHT_BIT, 16: ColorSystem.STANDARD}.get(colours)
    for row, strip in enumerate(app.screen._compositor.render_strips()):
        strip = strip.apply_filter(app._filters[-1], app.screen.background_colors[1]) if app.no_color else strip
        column = 0
        for segment in strip:
            style = segment.style
            back = style.bgcolor if style else None
            fore = style.color if style else None
            if system is not None:
                fore, back = (c and c.downgrade(system) for c in (fore, back))
            fore, back = rgb(fore, (198, 208, 218)), rgb(back, (14, 18, 23))
            if style and style.reverse:
                fore, back = back, fore
            if style and style.dim:
                fore = tuple((a + b) // 2 for a, b in zip(fore, back, strict=True))
            for glyph in segment.text:
                x, y = column * width, row * height
                draw.rectangle((x, y, x + width - 1, y + height - 1), fill=back)
                _glyph(draw, glyph, x, y, fore, fonts[bool(style and style.bold)])
                if style and style.underline:
                    draw.line((x, y + height - 3, x + width - 1, y + height - 3), fill=fore, width=2)
                column += 1
    image.quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)  # a terminal has few colours


def _glyph(draw, glyph: str, x: int, y: int, fore, font) -> None:
    width, height = CELL
    code = ord(glyph)
    if 0x2800 <= code <= 0x28FF:
        for bit, (i, j) in enumerate(BRAILLE):
            if (code - 0x2800) >> bit & 1:
                middle_x, middle_y = x + 3.5 + 7 * i, y + 3.5 + 7 * j
                draw.ellipse((middle_x - 2.5, middle_y - 2.5, middle_x + 2.5, middle_y + 2.5), fill=fore)
    elif 0x2581 <= code <= 0x2588:
        draw.rectangle((x, y + height - round(height * (code - 0x2580) / 8), x + width - 1, y + height - 1), fill=fore)
    elif glyph == "▀":
        draw.rectangle((x, y, x + width - 1, y + height // 2 - 1), fill=fore)
    elif glyph == "▔":
        draw.rectangle((x, y, x + width - 1, y + height // 8), fill=fore)
    elif glyph in "░▒▓":
        strength = 1 + "░▒▓".index(glyph)
        draw.rectangle((x, y, x + width - 1, y + height - 1), fill=tuple(c * strength // 4 for c in fore))
    elif glyph in BOXES:
        left, right, up, down = BOXES[glyph]
        mx, my = x + width // 2, y + height // 2
        for weight, box in (
            (left, (x, my - left, mx + left - 1, my + left - 1)),
            (right, (mx - right, my - right, x + width - 1, my + right - 1)),
            (up, (mx - up, y, mx + up - 1, my + up - 1)),
            (down, (mx - down, my - down, mx + down - 1, y + height - 1)),
        ):
            if weight:
                draw.rectangle(box, fill=fore)
    elif glyph != " ":
        draw.text((x, y + 1), glyph, font=font, fill=fore)


PAGES = {"rack": (), "xy": ("X",), "scope": ("S",), "library": ("L",), "train": ("T",)}
WINDOWS = {
    "help": ("question_mark",), "add": ("y",), "settings": ("right", "right", "e"), "jump": ("o",),
    "typed": ("1", "2", "0"),
}  # fmt: skip


async def screens(folder: Path, wanted: tuple[str, ...] = (*PAGES, *WINDOWS)) -> None:
    """Pages at three sizes, windows at the smallest, on a scripted server."""
    from msgspec.structs import replace

    from rack.ui.terminal import RackApp

    from .fake import BOXES as KINDS
    from .fake import FakeServer, lead, levels
    from .jobs import jobs, teach
    from .test_map import plane

    ground = plane(25, True, loudness=lambda x, y: -40 + 12 * x + 8 * y * (1 - (x - y) ** 2))
    for columns, rows in ((80, 24), (100, 30), (140, 40)):
        for name, keys in (PAGES | WINDOWS).items():
            if name not in wanted or name in WINDOWS and columns != 80:
                continue
            with tempfile.TemporaryDirectory() as place:
                async with FakeServer(Path(place) / "s", replace(lead(), jobs=jobs())) as server:
                    teach(server)
                    app = RackApp(str(server.path), glyphs="unicode", rate_hz=30, boxes=KINDS)
                    async with app.run_test(size=(columns, rows)) as pilot:
                        for step in range(12):
                            server.push(levels(step))
                            await pilot.pause(0.05)
                            if step == 3:
                                await pilot.press(*keys)
                                server.send(ground)
                        render(app, folder / f"{name}-{columns}x{rows}.png")


async def live(folder: Path, name: str = "rack", keys: tuple[str, ...] = ("right", "right")) -> None:
    """The running rack, or the shipped `nemo` where none runs, after these keys, at the two sizes of the README."""
    from rack import connect, paths
    from rack.ui.terminal import RackApp

    with connect.start("nemo") as server:
        while not server.get("engine")["fused"]:
            await asyncio.sleep(0.5)
        for columns, rows in ((80, 24), (140, 40)):
            app = RackApp(str(paths.socket_path()), glyphs="unicode", rate_hz=30)
            async with app.run_test(size=(columns, rows)) as pilot:
                for key in keys:
                    await pilot.press(key)
                    await asyncio.sleep(0.5)  # a page may have to be made
                await asyncio.sleep(4)
                await pilot.pause()
                render(app, folder / f"{name}-{columns}x{rows}.png")


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "screens")
    place.mkdir(parents=True, exist_ok=True)
    named = sys.argv[sys.argv.index("--live") + 1 :] if "--live" in sys.argv else []
    if "--live" in sys.argv:
        asyncio.run(live(place, named[0], tuple(named[1:])) if named else live(place))
    else:
        asyncio.run(screens(place, tuple(sys.argv[2:])) if sys.argv[2:] else screens(place))
