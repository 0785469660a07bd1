"""The shapes in the sample images: one function for each kind of product. Each draws in the colour of the product."""

from collections.abc import Sequence

from caslie_tools.sample.canvas import Canvas

DARK = "#2b2f36"
METAL = "#b9bec4"
PALE = "#fbfaf7"

Lines = Sequence[str]


def jacket(canvas: Canvas, colour: str, lines: Lines = ()) -> None:
    """A hooded rain jacket. The lines are printed on its hang tag."""
    canvas.blob([(190, 190), (60, 400), (64, 470), (140, 480), (230, 300)], colour)
    canvas.blob([(450, 190), (580, 400), (576, 470), (500, 480), (410, 300)], colour)
    canvas.shade((0, 150, 640, 500), 0.16)
    canvas.blob([(215, 190), (225, 40), (320, 10), (415, 40), (425, 190), (320, 260)], colour)
    canvas.shade((200, 20, 440, 240), 0.08)
    canvas.blob([(262, 180), (262, 90), (320, 50), (378, 90), (378, 180), (320, 215)], DARK)
    canvas.blob(
        [(180, 170), (250, 170), (320, 250), (390, 170), (460, 170), (478, 580), (440, 605), (200, 605), (162, 580)],
        colour,
    )
    canvas.line([(320, 222), (320, 598)], 9, PALE)
    canvas.line([(225, 420), (275, 480)], 8, DARK)
    canvas.line([(415, 420), (365, 480)], 8, DARK)
    canvas.box((172, 572, 468, 580), DARK)
    if lines:
        canvas.tag((140, 470), (20, 505, 290, 625), lines)


def shirt(canvas: Canvas, colour: str, lines: Lines = ()) -> None:
    """A long-sleeved shirt with a hang tag."""
    canvas.blob([(200, 110), (70, 430), (84, 500), (150, 500), (250, 260)], colour)
    canvas.blob([(440, 110), (570, 430), (556, 500), (490, 500), (390, 260)], colour)
    canvas.shade((0, 60, 640, 520), 0.16)
    canvas.blob(
        [(180, 90), (270, 60), (320, 100), (370, 60), (460, 90), (462, 590), (430, 600), (210, 600), (178, 590)], colour
    )
    canvas.blob([(262, 72), (378, 72), (355, 150), (285, 150)], DARK)
    canvas.line([(190, 560), (450, 560)], 5, DARK)
    if lines:
        canvas.tag((320, 140), (190, 240, 450, 380), lines)


def beanie(canvas: Canvas, colour: str) -> None:
    """A knitted hat."""
    canvas.blob([(130, 440), (120, 160), (320, 60), (520, 160), (510, 440)], colour)
    canvas.ellipse((270, 50, 370, 150), colour)
    canvas.box((110, 390, 530, 520), colour, radius=40)


def care_label(canvas: Canvas, colour: str, temperature: str) -> None:
    """A care label sewn into cloth: a washtub and its temperature."""
    canvas.box((0, 0, 640, 640), colour)
    for y in range(20, 640, 40):
        canvas.line([(0, y), (640, y)], 3, DARK)
    canvas.box((110, 90, 530, 560), PALE, radius=8)
    for x in range(130, 520, 36):
        canvas.line([(x, 108), (x + 16, 108)], 5, colour)
    canvas.line([(200, 170), (240, 330), (400, 330), (440, 170)], 12, DARK)
    for x in (225, 290, 355):
        canvas.arc((x - 20, 190, x + 45, 240), 180, 360, 10, DARK)
    canvas.text((320, 400), "WASH", 64, DARK)
    canvas.text((320, 488), temperature, 84, DARK)


def headphones(canvas: Canvas, colour: str, lines: Lines = ()) -> None:
    """Over-ear headphones around a round badge of text."""
    canvas.shadow(320, 590, 460)
    canvas.arc((105, 60, 535, 560), 180, 360, 46, DARK)
    canvas.arc((120, 52, 520, 540), 205, 335, 26, colour)
    for left in (60, 440):
        canvas.box((left + 22, 270, left + 118, 570), DARK, radius=48)
        canvas.box((left, 290, left + 140, 560), colour, radius=60)
        canvas.shade((left + 70, 280, left + 145, 570))
        canvas.ellipse((left + 38, 385, left + 102, 465), PALE)
    if lines:
        canvas.label((204, 300, 436, 460), lines, fill=DARK, text="#ffffff")


def earphones(canvas: Canvas, colour: str, lines: Lines = ()) -> None:
    """Two ear buds on a neckband."""
    canvas.arc((120, -120, 520, 470), 0, 180, 26, DARK)
    for side in (-1, 1):
        x = 320 + side * 186
        canvas.line([(x - side * 20, 150), (x - side * 72, 130)], 58, "#e9e4da")
        canvas.line([(x, 90), (x, 260)], 52, colour)
        canvas.ellipse((x - 70, 90, x + 70, 230), colour)
        canvas.ellipse((x - 44, 116, x + 44, 204), DARK)
        canvas.ellipse((x - 20, 130, x + 2, 152), "#79818c")
    if lines:
        canvas.label((170, 490, 470, 620), lines, fill=DARK, text="#ffffff")


def charger(canvas: Canvas, colour: str, lines: Lines = ()) -> None:
    """A plug-in charger with its power printed on it."""
    canvas.shadow(320, 590, 380)
    for x in (245, 375):
        canvas.box((x - 15, 30, x + 15, 150), METAL, radius=12)
    canvas.box((140, 120, 500, 590), colour, radius=56)
    canvas.shade((450, 110, 510, 590))
    canvas.label((180, 190, 440, 400), lines)
    canvas.box((262, 470, 378, 510), DARK, radius=20)
    canvas.box((280, 484, 360, 496), METAL, radius=6)


def power_bank(canvas: Canvas, colour: str, lines: Lines = ()) -> None:
    """A battery pack with four lamps."""
    canvas.shadow(320, 600, 360)
    canvas.box((150, 50, 490, 600), colour, radius=50)
    canvas.shade((440, 40, 500, 600))
    canvas.box((270, 50, 370, 66), DARK, radius=6)
    canvas.label((176, 200, 430, 390), lines)
    for number in range(4):
        canvas.ellipse((230 + number * 50, 500, 252 + number * 50, 522), "#8ee08a" if number < 3 else DARK)


def headlamp(canvas: Canvas, colour: str, lines: Lines = ()) -> None:
    """A lamp on a head strap, with a badge of text under it."""
    canvas.arc((60, 30, 580, 400), 0, 360, 62, colour)
    canvas.arc((84, 54, 556, 376), 0, 360, 8, DARK)
    canvas.box((190, 250, 450, 430), DARK, radius=50)
    canvas.box((206, 262, 434, 418), "#3d434d", radius=42)
    canvas.ellipse((250, 270, 390, 410), METAL)
    canvas.ellipse((264, 284, 376, 396), "#fff3c4")
    canvas.ellipse((292, 300, 332, 340), "#ffffff")
    if lines:
        canvas.label((120, 470, 520, 620), lines, fill="#ffffff")


def carton_box(canvas: Canvas, colour: str, lines: Lines) -> None:
    """A packaging box, seen from the left."""
    canvas.shadow(330, 590, 520)
    canvas.polygon([(90, 150), (150, 80), (590, 80), (500, 150)], colour)
    canvas.polygon([(500, 150), (590, 80), (590, 520), (500, 590)], colour)
    canvas.shade((90, 70, 600, 595), 0.2)
    canvas.box((90, 150, 500, 590), colour)
    canvas.label((120, 200, 470, 420), lines)
    for y in (470, 505, 540):
        canvas.line([(130, y), (130 + (y % 97) * 2 + 90, y)], 8, PALE)


def bike_light(canvas: Canvas, colour: str, lines: Lines = ()) -> None:
    """A front light on a handlebar."""
    canvas.line([(40, 470), (600, 470)], 44, METAL)
    canvas.line([(40, 460), (600, 460)], 10, "#dfe2e5")
    canvas.box((250, 380, 390, 510), DARK, radius=20)
    canvas.box((110, 110, 480, 400), colour, radius=60)
    canvas.shade((100, 320, 490, 405))
    canvas.box((440, 90, 540, 420), DARK, radius=40)
    canvas.ellipse((490, 100, 580, 410), "#fff3c4")
    canvas.ellipse((515, 150, 555, 260), "#ffffff")
    if lines:
        canvas.label((150, 165, 420, 325), lines)


def lantern(canvas: Canvas, colour: str, lines: Lines = ()) -> None:
    """A camping lantern."""
    canvas.shadow(320, 595, 360)
    canvas.arc((200, 20, 440, 300), 180, 360, 14, DARK)
    canvas.box((210, 110, 430, 180), colour, radius=24)
    canvas.box((230, 175, 410, 390), "#fff3c4", radius=10)
    canvas.box((300, 190, 340, 380), "#ffffff", radius=18)
    for x in (236, 404):
        canvas.line([(x, 180), (x, 390)], 12, DARK)
    canvas.box((160, 380, 480, 595), colour, radius=34)
    canvas.shade((430, 370, 490, 590))
    if lines:
        canvas.label((185, 410, 425, 565), lines)


def bottle(canvas: Canvas, colour: str, lines: Lines = ()) -> None:
    """A drinking bottle with a loop on its cap."""
    canvas.shadow(320, 608, 320)
    canvas.arc((265, 15, 375, 125), 180, 360, 18, DARK)
    canvas.box((250, 65, 390, 150), DARK, radius=18)
    canvas.box((272, 145, 368, 190), METAL)
    canvas.box((170, 180, 470, 612), colour, radius=64)
    canvas.shade((420, 180, 475, 611))
    canvas.line([(200, 270), (200, 540)], 12, PALE)
    if lines:
        canvas.label((228, 300, 440, 490), lines)


def flask(canvas: Canvas, colour: str, lines: Lines = ()) -> None:
    """A vacuum flask with its cup."""
    canvas.shadow(320, 612, 290)
    canvas.box((222, 20, 418, 160), METAL, radius=26)
    canvas.shade((370, 10, 420, 160))
    canvas.box((230, 152, 410, 190), DARK)
    canvas.box((190, 184, 450, 612), colour, radius=34)
    canvas.shade((400, 180, 455, 608))
    canvas.box((190, 540, 450, 556), METAL)
    if lines:
        canvas.label((208, 290, 432, 470), lines)


def mug(canvas: Canvas, colour: str, lines: Lines = ()) -> None:
    """An enamel mug with a dark rim."""
    canvas.shadow(280, 570, 420)
    canvas.arc((380, 220, 590, 470), 250, 110, 42, colour)
    canvas.box((82, 110, 478, 575), colour, radius=70)
    canvas.box((82, 150, 478, 300), colour)
    canvas.shade((424, 150, 478, 574))
    canvas.box((70, 100, 490, 153), canvas.background)
    canvas.ellipse((82, 116, 478, 190), DARK)
    canvas.ellipse((98, 126, 462, 182), PALE)
    if lines:
        canvas.label((104, 250, 430, 440), lines)


def kettle(canvas: Canvas, colour: str, lines: Lines = ()) -> None:
    """An electric kettle on its base."""
    canvas.shadow(320, 606, 440)
    canvas.polygon([(210, 150), (70, 130), (96, 196), (190, 290)], colour)
    canvas.shade((60, 120, 215, 300), 0.1)
    canvas.line([(420, 130), (560, 150), (570, 420), (480, 500)], 38, DARK)
    canvas.polygon([(205, 110), (435, 110), (505, 564), (135, 564)], colour)
    canvas.shade((420, 105, 506, 563))
    canvas.box((190, 84, 450, 128), DARK, radius=18)
    canvas.ellipse((298, 44, 342, 96), DARK)
    canvas.box((115, 560, 525, 604), DARK, radius=16)
    if lines:
        canvas.label((190, 260, 440, 470), lines)


def pan(canvas: Canvas, colour: str, lines: Lines = ()) -> None:
    """A frying pan seen from above."""
    canvas.line([(410, 410), (590, 590)], 54, colour)
    canvas.ellipse((560, 560, 606, 606), canvas.background)
    canvas.ellipse((40, 40, 500, 500), colour)
    canvas.ellipse((64, 64, 476, 476), "#4a4f57")
    canvas.ellipse((74, 74, 466, 466), DARK)
    if lines:
        canvas.label((120, 180, 420, 360), lines)


def carton(canvas: Canvas, colour: str, lines: Lines = ()) -> None:
    """A drink carton with a gable top."""
    canvas.shadow(320, 606, 400)
    canvas.polygon([(460, 190), (540, 150), (540, 560), (460, 605)], colour)
    canvas.polygon([(460, 190), (460, 80), (540, 150)], colour)
    canvas.shade((455, 70, 545, 600), 0.22)
    canvas.polygon([(130, 190), (180, 80), (460, 80), (460, 190)], colour)
    canvas.shade((120, 75, 458, 189), 0.1)
    canvas.box((175, 40, 464, 86), PALE)
    canvas.box((130, 190, 460, 605), colour)
    canvas.ellipse((270, 100, 350, 170), PALE)
    canvas.blob([(130, 605), (130, 500), (220, 540), (330, 490), (460, 540), (460, 605)], PALE)
    if lines:
        canvas.label((140, 205, 450, 475), lines)


def tea_box(canvas: Canvas, colour: str, lines: Lines = ()) -> None:
    """A box of tea with a leaf on it."""
    canvas.shadow(320, 590, 540)
    canvas.polygon([(70, 110), (120, 60), (560, 60), (510, 110)], colour)
    canvas.polygon([(510, 110), (560, 60), (560, 530), (510, 580)], colour)
    canvas.shade((60, 50, 565, 585), 0.2)
    canvas.box((70, 110, 510, 580), colour)
    canvas.label((100, 140, 480, 400), lines)
    canvas.blob([(200, 540), (250, 430), (400, 410), (330, 520)], "#6fae5c")
    canvas.line([(215, 535), (370, 430)], 6, PALE)


def watering_can(canvas: Canvas, colour: str, lines: Lines = ()) -> None:
    """A watering can."""
    canvas.shadow(370, 600, 440)
    canvas.arc((260, 60, 490, 420), 180, 360, 30, colour)
    canvas.arc((430, 220, 620, 520), 250, 90, 30, colour)
    canvas.polygon([(250, 540), (60, 190), (100, 165), (290, 380)], colour)
    canvas.polygon([(20, 205), (125, 130), (140, 165), (50, 235)], DARK)
    canvas.box((220, 230, 530, 600), colour, radius=30)
    canvas.shade((470, 232, 532, 598))
    canvas.box((220, 230, 530, 256), DARK, radius=12)
    if lines:
        canvas.label((250, 300, 465, 490), lines)


def hose(canvas: Canvas, colour: str, lines: Lines = ()) -> None:
    """A coiled garden hose with its nozzle."""
    canvas.shadow(320, 600, 480)
    for inset in range(0, 130, 32):
        canvas.ellipse((50 + inset, 50 + inset, 590 - inset, 590 - inset), DARK)
        canvas.ellipse((54 + inset, 54 + inset, 586 - inset, 586 - inset), colour)
        canvas.ellipse((74 + inset, 74 + inset, 566 - inset, 566 - inset), DARK)
    canvas.ellipse((178, 178, 462, 462), canvas.background)
    canvas.line([(560, 330), (600, 520)], 26, colour)
    canvas.line([(598, 510), (606, 590)], 38, "#e0a92e")
    if lines:
        canvas.label((195, 250, 445, 390), lines, fill=DARK, text="#ffffff")


def shears(canvas: Canvas, colour: str) -> None:
    """Pruning shears: a broad blade, a hook and two curved handles."""
    canvas.blob([(290, 330), (210, 190), (240, 30), (330, 60), (385, 200), (370, 330)], METAL)
    canvas.blob([(330, 330), (430, 250), (440, 60), (480, 80), (500, 260), (390, 380)], METAL)
    canvas.arc((170, 290, 430, 850), 180, 290, 50, colour)
    canvas.arc((240, 300, 490, 860), 260, 360, 50, colour)
    canvas.ellipse((290, 290, 370, 370), DARK)
    canvas.ellipse((315, 315, 345, 345), canvas.background)


def placeholder(canvas: Canvas, colour: str) -> None:
    """The placeholder that a shop shows for a product without an image."""
    canvas.box((150, 170, 490, 400), colour, radius=36)
    canvas.box((250, 130, 390, 190), colour, radius=20)
    canvas.ellipse((235, 195, 405, 365), canvas.background)
    canvas.ellipse((260, 220, 380, 340), colour)
    canvas.text((320, 480), "PHOTO", 60, colour)
    canvas.text((320, 550), "COMING SOON", 60, colour)


def shelves(canvas: Canvas, colour: str) -> None:
    """A warehouse rack with plain parcels."""
    for row, y in enumerate((40, 240, 440)):
        x = 50
        for column in range(5):
            width, height = 84 + (row * 5 + column) % 3 * 18, 80 + (row * 7 + column * 3) % 4 * 18
            canvas.box((x, y + 150 - height, x + width, y + 150), colour)
            canvas.shade((x + width * 0.75, y + 150 - height, x + width, y + 150), 0.15)
            canvas.line([(x + width / 2, y + 154 - height), (x + width / 2, y + 172 - height)], 8, PALE)
            x += width + 10
        canvas.box((20, y + 150, 620, y + 168), "#59708a")
    for x in (20, 604):
        canvas.box((x, 10, x + 16, 630), "#59708a")


def logo(canvas: Canvas, colour: str, brand: str) -> None:
    """Only the name of a brand."""
    canvas.ellipse((60, 60, 580, 580), colour)
    canvas.ellipse((80, 80, 560, 560), PALE)
    canvas.ellipse((92, 92, 548, 548), colour)
    canvas.text((320, 320), brand, 92, PALE)
    canvas.line([(200, 390), (440, 390)], 8, PALE)
