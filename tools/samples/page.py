"""Draw the deck page of a phone app, 1080 pixels wide.

Every position, size and colour of the layout stands in the constants below, in pixels and RGB. Text and shapes are
drawn SCALE times larger and averaged down, so that edges are soft as on a phone. Names and icons are our own.
"""
import random

from PIL import Image, ImageDraw, ImageFont

WIDTH = 1080
SCALE = 6
FONT_FOLDERS = ("/usr/share/fonts/opentype/noto", "/usr/share/fonts/noto-cjk", "/usr/share/fonts/google-noto-cjk")
FONT_FILES = {"regular": "NotoSansCJK-Regular.ttc", "bold": "NotoSansCJK-Bold.ttc"}
FACE_SC = 2  # the simplified Chinese face of the collection

PAGE = (1, 57, 80)
BLOCK = (30, 48, 68)
GLOW = (45, 82, 108)
FRAME = (64, 103, 120)
FRAME_THIN = (21, 73, 95)
BAND = (0, 81, 124)
CARD = (27, 78, 99)
INK = (211, 211, 211)
WHITE = (255, 255, 255)
GREY = (152, 156, 162)
RULE = (43, 59, 75)
BAR = (68, 81, 97)
GOLD = (178, 143, 77)
RIBBON = (243, 196, 124)
RIBBON_EDGE = (214, 165, 64)
DARK = (8, 22, 34)
CAPSULE = (165, 173, 181)

BLOCK_END = 757
GLOW_WIDTH, GLOW_HEIGHT = 560, 140
PANEL_TOP = 800
PANEL_LEFT, PANEL_RIGHT = 42, 1038
PANEL_GAP = 62
FRAME_WIDTH = 8
THIN_INSET = 22
BAND_INSET = 66
BAND_LEFT, BAND_RIGHT, BAND_HEIGHT = 96, 1000, 81
BAND_TEXT_X, BAND_TEXT_BASE = 136.7, 54.7
BAND_STEP = 110       # from the top of a section's band to its first card
SECTION_STEP = 40     # from the last card to the next band in the same panel
CARD_LEFTS = (94, 547)
CARD_WIDTH, CARD_HEIGHT, CARD_STEP = 439, 138, 166
CARD_END = 66         # from the last card to the outer edge of the panel
ICON_X, ICON_Y, ICON_RADIUS = 65, 69, 42
NAME_X, NAME_BASE, NAME_BASE_OF_TWO = 121, 85, 56
TAG_X, TAG_BASE = 121.5, 112
QUANTITY_RIGHT, QUANTITY_BASE = 427, 122.5
PAGE_TAIL = 104
PAGE_EDGE = 5

NAME_SIZE, TAG_SIZE, BAND_SIZE, TITLE_SIZE = 36.5, 30.83, 42.83, 50.5
X_SIZE, DIGIT_SIZE, META_SIZE, PLAYER_SIZE = 25.5, 32.7, 30.83, 33.75

DOMAIN_COLOURS = {
    "Tide": (24, 104, 156), "Stone": (122, 112, 104), "Reed": (84, 128, 44),
    "Lantern": (214, 142, 12), "Mist": (112, 92, 158), "Salt": (186, 84, 66),
}

_fonts = {}
_texts = {}


def font(weight, size):
    """The font at `size` pixels, SCALE times larger; a clear failure where the fonts are not installed."""
    key = (weight, size)
    if key not in _fonts:
        for folder in FONT_FOLDERS:
            try:
                _fonts[key] = ImageFont.truetype(f"{folder}/{FONT_FILES[weight]}", round(size * SCALE), index=FACE_SC,
                                                 layout_engine=ImageFont.Layout.BASIC)
                break
            except OSError:
                continue
        else:
            raise SystemExit(f"{FONT_FILES[weight]} is in none of {', '.join(FONT_FOLDERS)}: install fonts-noto-cjk")
    return _fonts[key]


def text_width(text, weight, size):
    return font(weight, size).getlength(text) / SCALE


def text(image, x, base, string, size, weight="regular", fill=INK, anchor="l", stroke=0.0):
    """Write a line; `x` is where it starts ('l'), its middle ('m') or its end ('r'), `base` its baseline."""
    face = font(weight, size)
    width = face.getlength(string) / SCALE
    left = x - {"l": 0, "m": width / 2, "r": width}[anchor]
    x0, y0 = int(left) - 4, int(base - size * 1.2)
    key = (string, size, weight, stroke, round((left - x0) * SCALE), round((base - y0) * SCALE))
    if key not in _texts:
        big = Image.new("L", ((int(width) + 12) * SCALE, int(size * 1.7) * SCALE), 0)
        ImageDraw.Draw(big).text(key[4:], string, font=face, fill=255, anchor="ls", stroke_width=round(stroke * SCALE))
        _texts[key] = big.reduce(SCALE)
    image.paste(fill, (x0, y0), _texts[key])


class Shape:
    """A mask drawn SCALE times larger, in the coordinates of the page; paste() puts a colour through it."""

    def __init__(self, left, top, right, bottom):
        self.corner = (int(left) - 2, int(top) - 2)
        self.mask = Image.new("L", ((int(right - left) + 6) * SCALE, (int(bottom - top) + 6) * SCALE), 0)
        self.pen = ImageDraw.Draw(self.mask)

    def _points(self, *values):
        x0, y0 = self.corner
        return [((x - x0) * SCALE, (y - y0) * SCALE) for x, y in zip(values[::2], values[1::2])]

    def _box(self, left, top, right, bottom):
        (a, b), (c, d) = self._points(left, top, right, bottom)
        return (a, b, c - 1, d - 1)

    def polygon(self, *values, on=True):
        self.pen.polygon(self._points(*values), fill=255 * on)
        return self

    def box(self, left, top, right, bottom, radius=0, on=True):
        self.pen.rounded_rectangle(self._box(left, top, right, bottom), radius * SCALE, fill=255 * on)
        return self

    def disc(self, x, y, radius, on=True):
        self.pen.ellipse(self._box(x - radius, y - radius, x + radius, y + radius), fill=255 * on)
        return self

    def arc(self, x, y, radius, start, end, width, on=True):
        self.pen.arc(self._box(x - radius, y - radius, x + radius, y + radius), start, end, fill=255 * on,
                     width=round(width * SCALE))
        return self

    def line(self, *values, width=2, on=True):
        self.pen.line(self._points(*values), fill=255 * on, width=round(width * SCALE), joint="curve")
        return self

    def paste(self, image, fill):
        image.paste(fill, self.corner, self.mask.reduce(SCALE))


def square(x, y, half):
    return Shape(x - half, y - half, x + half, y + half)


def icon_of(kind, x, y):
    """The pale picture of a kind of card, about 56 pixels across, centred at x, y."""
    s = square(x, y, 34)
    if kind == "Legend":      # a crown over a wave
        s.polygon(x - 26, y - 16, x - 12, y - 4, x, y - 28, x + 12, y - 4, x + 26, y - 16, x + 21, y + 16, x - 21, y + 16)
        s.box(x - 21, y + 20, x + 21, y + 27, 2).disc(x, y + 4, 6, on=False)
    elif kind == "Champion Unit":      # a shield with a star cut out of it
        s.polygon(x - 24, y - 26, x + 24, y - 26, x + 24, y + 4, x + 14, y + 20, x, y + 29, x - 14, y + 20, x - 24, y + 4)
        s.polygon(x, y - 20, x + 5, y - 5, x + 17, y - 2, x + 5, y + 3, x, y + 18, x - 5, y + 3, x - 17, y - 2, x - 5, y - 5, on=False)
    elif kind == "Unit":      # a hatted figure
        s.disc(x, y - 6, 13).polygon(x - 27, y - 10, x + 27, y - 10, x, y - 28)
        s.polygon(x - 26, y + 27, x - 14, y + 8, x + 14, y + 8, x + 26, y + 27).box(x - 27, y - 10, x + 27, y - 7, on=False)
    elif kind == "Spell":      # a drop with a curl
        s.polygon(x, y - 30, x - 19, y, x + 19, y).disc(x, y + 7, 20.5)
        s.arc(x, y + 8, 13, 20, 250, 5, on=False)
    elif kind == "Gear":      # a waterwheel
        for dx, dy in ((0, 1), (1, 0), (0.707, 0.707), (0.707, -0.707)):
            s.line(x - 29 * dx, y - 29 * dy, x + 29 * dx, y + 29 * dy, width=8)
        s.disc(x, y, 22).disc(x, y, 14, on=False).disc(x, y, 7)
    elif kind == "Battlefield":      # a mill tower
        s.polygon(x - 15, y + 27, x - 10, y - 6, x + 10, y - 6, x + 15, y + 27).polygon(x - 14, y - 8, x, y - 22, x + 14, y - 8)
        s.line(x - 24, y - 26, x + 24, y + 10, width=5).line(x + 24, y - 26, x - 24, y + 10, width=5)
        s.disc(x, y - 8, 4, on=False)
    else:      # a rune: two facing leaves
        s.polygon(x - 2, y - 30, x - 26, y, x - 2, y + 30, x - 12, y).polygon(x + 2, y - 30, x + 26, y, x + 2, y + 30, x + 12, y)
        s.disc(x, y, 6)
    return s


def blend(a, b, share):
    return tuple(round(p + (q - p) * share) for p, q in zip(a, b))


def grain():
    """The band's fading right half: one fixed grain, the same in every section, as the app shows a picture."""
    rng = random.Random(7)
    width, height = BAND_RIGHT - BAND_LEFT, BAND_HEIGHT
    small = Image.new("L", (width // 2 + 2, height // 2 + 2))
    small.putdata([int(rng.random() * 256) for _ in range(small.width * small.height)])
    noise = small.resize((small.width * 2, small.height * 2), Image.BICUBIC).crop((1, 1, width + 1, height + 1)).load()
    knots = ((0, 1.0), (250, 1.0), (300, 0.9), (360, 0.76), (420, 0.58), (500, 0.46), (600, 0.3), (680, 0.15), (760, 0.05), (860, 0.0), (999, 0.0))
    mask = Image.new("L", (width, height), 255)
    dots = mask.load()
    for x in range(220, width):
        for y in range(height):
            at = x + y * 0.4 - 16
            for (x0, s0), (x1, s1) in zip(knots, knots[1:]):
                if x0 <= at <= x1:
                    share = s0 + (s1 - s0) * (at - x0) / (x1 - x0)
                    break
            else:
                share = 1.0
            speck = (noise[x, y] / 255 - 0.5) * 1.3 + 0.5
            dots[x, y] = max(0, min(255, int((0.5 + (share * 1.6 - 0.3 - speck) * 1.8) * 255)))
    return mask


_grain = None


def draw_band(image, top, title):
    global _grain
    if _grain is None:
        _grain = grain()
    image.paste(BAND, (BAND_LEFT, top), _grain)
    middle = top + BAND_HEIGHT / 2
    square(95, middle, 22).polygon(75, middle, 95, middle - 20, 115, middle, 95, middle + 20).paste(image, PAGE)
    square(95, middle, 14).polygon(84, middle, 95, middle - 11, 106, middle, 95, middle + 11).paste(image, BAND)
    text(image, BAND_TEXT_X, top + BAND_TEXT_BASE, title, BAND_SIZE, "bold", WHITE)


def draw_card(image, left, top, box):
    """One box: {"name": "…" or "name, title", "kind", "quantity", "icon": False to leave it out, "tag": a second line}."""
    ImageDraw.Draw(image).rectangle((left, top, left + CARD_WIDTH - 1, top + CARD_HEIGHT - 1), fill=CARD)
    if box.get("icon", True):
        x, y = left + ICON_X, top + ICON_Y
        square(x, y, ICON_RADIUS).disc(x, y, ICON_RADIUS).paste(image, PAGE)
        icon_of(box["kind"], x, y).paste(image, INK)
    name, _, tag = box["name"].partition(", ")
    tag = tag or box.get("tag", "")
    text(image, left + NAME_X, top + (NAME_BASE_OF_TWO if tag else NAME_BASE), name, NAME_SIZE, "bold")
    if tag:
        text(image, left + TAG_X, top + TAG_BASE, tag, TAG_SIZE)
    if box["quantity"] > 1:
        digits = str(box["quantity"])
        text(image, left + QUANTITY_RIGHT, top + QUANTITY_BASE, digits, DIGIT_SIZE, anchor="r")
        x = left + QUANTITY_RIGHT - text_width(digits, "regular", DIGIT_SIZE) - 3.7
        text(image, x, top + QUANTITY_BASE + 0.3, "x", X_SIZE, anchor="r")


def section_height(count):
    return BAND_STEP + ((count + 1) // 2) * CARD_STEP - (CARD_STEP - CARD_HEIGHT)


def panel_height(sections):
    return BAND_INSET + sum(section_height(len(boxes)) for _, boxes in sections) + SECTION_STEP * (len(sections) - 1) + CARD_END


def draw_panel(image, top, sections):
    bottom = top + panel_height(sections)
    pen = ImageDraw.Draw(image)
    for inset, colour, radius, width in ((0, FRAME, 34, FRAME_WIDTH), (THIN_INSET, FRAME_THIN, 16, 2)):
        a, b, c, d = PANEL_LEFT + inset, top + inset, PANEL_RIGHT - inset, bottom - inset
        pen.rectangle((a + radius, b, c - radius - 1, b + width - 1), fill=colour)
        pen.rectangle((a + radius, d - width, c - radius - 1, d - 1), fill=colour)
        pen.rectangle((a, b + radius, a + width - 1, d - radius - 1), fill=colour)
        pen.rectangle((c - width, b + radius, c - 1, d - radius - 1), fill=colour)
        for x, y, start in ((a + radius, b + radius, 180), (c - radius, b + radius, 270), (c - radius, d - radius, 0), (a + radius, d - radius, 90)):
            corner = square(x, y, radius + 1)
            corner.arc(x, y, radius, start, start + 90, width)
            corner.paste(image, colour)
    y = top + BAND_INSET
    for title, boxes in sections:
        draw_band(image, y, title)
        for at, box in enumerate(boxes):
            draw_card(image, CARD_LEFTS[at % 2], y + BAND_STEP + at // 2 * CARD_STEP, box)
        y += section_height(len(boxes)) + SECTION_STEP
    return bottom


def draw_avatar(image, x, y, rng):
    """A small landscape in a ring: sky, sun, hills and water, by the deck's seed."""
    art = Image.new("RGB", (90, 90))
    pen = ImageDraw.Draw(art)
    sky = tuple(rng.randrange(60, 200) for _ in range(3))
    for row in range(90):
        pen.line((0, row, 90, row), fill=blend(sky, (250, 230, 190), row / 120))
    sx, sy = rng.randrange(20, 70), rng.randrange(14, 40)
    pen.ellipse((sx - 9, sy - 9, sx + 9, sy + 9), fill=(252, 240, 200))
    for shade in (0.3, 0.55):
        top = [(-2, 92)] + [(k * 15, 38 + shade * 30 + rng.randrange(16)) for k in range(7)] + [(92, 92)]
        pen.polygon(top, fill=blend(sky, (20, 40, 50), shade))
    for row in range(70, 90, 5):
        pen.line((0, row, 90, row), fill=(150, 190, 205), width=2)
    square(x, y, 45).disc(x, y, 45).paste(image, (150, 124, 73))
    ring = square(x, y, 45).disc(x, y, 43)
    under = Image.new("RGB", (100, 100))
    under.paste(art, (int(x - 45) - ring.corner[0], int(y - 45) - ring.corner[1]))
    image.paste(under.crop((0, 0) + ring.mask.reduce(SCALE).size), ring.corner, ring.mask.reduce(SCALE))


def draw_top(image, rng):
    """Glow, clock and battery, title, and the corner capsule that such apps lie under."""
    pixels = image.load()
    for y in range(BLOCK_END - 1):
        for x in range(WIDTH):
            across, down = min(1, 1.1 - 1.1 * abs(x - 540) / GLOW_WIDTH), 1 - y / GLOW_HEIGHT
            pixels[x, y] = blend(BLOCK, GLOW, across * down ** 1.35) if across > 0 and down > 0 else BLOCK
    for y, share in ((BLOCK_END - 1, 0.35), (BLOCK_END, 0.7), (BLOCK_END + 1, 0.7)):
        ImageDraw.Draw(image).line((0, y, WIDTH, y), fill=blend(BLOCK, PAGE, share))
    clock = f"{rng.randrange(1, 12)}:{rng.randrange(60):02d}"
    text(image, 54, 65, clock, 38, "bold", DARK)
    for bar in range(4):
        square(922, 50, 20).box(910 + bar * 7, 60 - bar * 6, 914 + bar * 7, 66).paste(image, DARK)
    Shape(949, 29, 1011, 71).box(949, 29, 1011, 71, 21).paste(image, DARK)
    text(image, 980, 62, str(rng.randrange(20, 99)), 32, "bold", (120, 140, 158), "m")
    Shape(36, 114, 70, 180).polygon(68, 114, 37, 146, 68, 178, 68, 158, 57, 146, 68, 134).paste(image, (232, 194, 120))
    text(image, 540, 168, "卡组详情", TITLE_SIZE, "regular", GOLD, "m", 0.34)
    Shape(785, 103, 1056, 193).box(785, 103, 1056, 193, 45).paste(image, CAPSULE)
    for x, radius in ((831, 5), (852.5, 9), (874, 5)):
        square(x, 148, 10).disc(x, 148, radius).paste(image, (0, 0, 0))
    ImageDraw.Draw(image).line((920, 123, 920, 173), fill=(143, 150, 158))
    square(990, 148, 26).disc(990, 148, 25).disc(990, 148, 19, on=False).disc(990, 148, 9).paste(image, (0, 0, 0))


def draw_ribbon(image, placement):
    for left, tip in ((915, 932), (1014, 997)):
        Shape(910, 345, 1020, 375).polygon(left, 350, left, 371, tip, 362, tip, 350).paste(image, RIBBON_EDGE)
    Shape(915, 270, 1014, 382).polygon(915, 270, 1014, 270, 1014, 350, 964.5, 381, 915, 350).paste(image, RIBBON_EDGE)
    Shape(917, 270, 1012, 382).polygon(917, 270, 1012, 270, 1012, 351, 964.5, 380, 917, 351).paste(image, RIBBON)
    text(image, 964.5, 319.5, str(placement), 35.33, "regular", DARK, "m", 0.5)
    text(image, 964.5, 370.2, "排名", 33.67, "regular", DARK, "m", 0.5)


def draw_block(image, deck, rng):
    """The metadata block: name of the deck, event and date, domains, player, and the buttons beside them."""
    draw_top(image, rng)
    meta = deck["metadata"]
    text(image, 48, 335, meta["deck_name"], 50.6, "bold", WHITE)
    draw_ribbon(image, meta["placement"])
    flag = Shape(48, 383, 76, 416).box(48, 383, 76, 386).polygon(51, 388, 73, 388, 73, 411, 62, 416, 51, 411)
    flag.polygon(62, 392, 69, 400, 62, 408, 55, 400, on=False)
    flag.paste(image, (127, 136, 145))
    text(image, 93.3, 414, meta["event"], META_SIZE)
    bar = round(93.3 + text_width(meta["event"], "regular", META_SIZE) + 34)
    ImageDraw.Draw(image).rectangle((bar, 383, bar + 2, 416), fill=BAR)
    x, y = bar + 45.5, 400.5
    square(x, y, 15).disc(x, y, 15).line(x, y - 9, x, y + 1, x + 8, y + 1, width=3, on=False).paste(image, (130, 135, 141))
    text(image, x + 30.5, 414, meta["date"], META_SIZE)
    for at, domain in enumerate(deck["domains"]):
        x, y = 79 + 90 * at, 501
        for radius, colour in ((31, (148, 123, 73)), (28, (20, 24, 20)), (25, DOMAIN_COLOURS[domain])):
            square(x, y, 31).disc(x, y, radius).paste(image, colour)
        square(x, y, 18).polygon(x, y - 15, x - 10, y, x + 10, y).disc(x, y + 4, 10.5).paste(image, WHITE)
    Shape(866, 478, 912, 525).box(876, 478, 912, 516).box(866, 484, 907, 525, on=False).box(867, 487, 903, 525).box(
        875, 497, 895, 501, on=False).box(875, 508, 895, 512, on=False).paste(image, GREY)
    Shape(976, 478, 1027, 525).box(977, 482, 1020, 524).box(981, 486, 1016, 520, on=False).polygon(
        1000, 476, 1027, 491, 1000, 506, on=False).polygon(1006, 478, 1026, 492, 1006, 506).arc(1008, 512, 22, 180, 265, 7).paste(image, GREY)
    ImageDraw.Draw(image).rectangle((48, 577, 1031, 579), fill=RULE)
    draw_avatar(image, 93, 669, rng)
    text(image, 160, 682.5, meta["player"], PLAYER_SIZE)
    Shape(796, 622, 1032, 696).box(796, 622, 1032, 696, 37).box(798, 624, 1030, 694, 35, on=False).paste(image, GREY)
    Shape(914, 627, 1028, 691).box(914, 627, 1028, 691, 32).paste(image, WHITE)
    text(image, 857, 674, "图片", 33.67, "regular", (152, 152, 152), "m", 0.5)
    text(image, 970, 674, "列表", 33.67, "regular", (20, 38, 58), "m", 0.34)


def draw_page(deck):
    """The whole page. deck: metadata, domains, seed, panels (lists of (title, boxes)), and cut: rows of the last card to keep."""
    heights = [panel_height(panel) for panel in deck["panels"]]
    end = PANEL_TOP + sum(heights) + PANEL_GAP * (len(heights) - 1)
    height = end + PAGE_TAIL + PAGE_EDGE
    image = Image.new("RGB", (WIDTH, height), PAGE)
    image.paste(BLOCK, (0, height - PAGE_EDGE, WIDTH, height))
    draw_block(image, deck, random.Random(deck["seed"]))
    top = PANEL_TOP
    for panel in deck["panels"]:
        top = draw_panel(image, top, panel) + PANEL_GAP
    if deck.get("cut"):
        image = image.crop((0, 0, WIDTH, end - CARD_END - CARD_HEIGHT + deck["cut"]))
    return image
