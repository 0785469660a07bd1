"""Attributes of products by their meaning: how a question asks for one, which columns and which texts state it.

A shop's catalogue names its columns as it likes, so the table lists the usual names in five languages. A column that it
does not list is found by the words of the question, or by the similarity of its name
(:mod:`~caslie_tools.backends.embedded.questions.attribute_answers`).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from caslie_tools.backends.embedded.quantities import UNIT_DIMENSIONS
from caslie_tools.backends.embedded.words import stem


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """A property that products of many kinds have."""

    name: str
    asked: re.Pattern[str]
    """Matches a question for the attribute."""
    columns: tuple[frozenset[str], ...]
    """Names of columns, each as the set of its stems."""
    dimensions: frozenset[str] = frozenset()
    """Dimensions of the quantities that state it. Empty if it is not measured."""
    cue: re.Pattern[str] | None = None
    """Words that show, in a sentence, that a quantity or a name states this attribute."""
    value: re.Pattern[str] | None = None
    """Matches a value that is no quantity. If it has groups, the first is the value."""

    def names(self, column: str) -> bool:
        """Whether a column has the name of this attribute."""
        parts = column_words(column)
        return any(name <= parts for name in self.columns)


@lru_cache(maxsize=1024)
def column_words(column: str) -> frozenset[str]:
    """Returns the stems of the words in the name of a column, without units: ``weight_g`` is ``{"weight"}``."""
    spaced = re.sub(r"(?<=[a-zà-ÿ])(?=[A-ZÀ-Ý])", " ", column)
    parts = [part.lower() for part in re.split(r"[\W_\d]+", spaced) if part]
    words = frozenset(stem(part) for part in parts if len(part) > 2 or part not in UNIT_DIMENSIONS)
    return words or frozenset(parts)


def _attribute(
    name: str, asked: str, columns: str, dimensions: str = "", *, cue: str = "", value: str = ""
) -> Attribute:
    return Attribute(
        name=name,
        asked=re.compile(asked, re.IGNORECASE),
        columns=tuple(frozenset(map(stem, column.split())) for column in columns.split(", ")),
        dimensions=frozenset(dimensions.split()),
        cue=re.compile(cue, re.IGNORECASE) if cue else None,
        value=re.compile(value) if value else None,
    )


_PLACE: Final = r"((?:the )?[A-ZÀ-Ý][\wà-ÿ]+(?: (?:and |of )?[A-ZÀ-Ý][\wà-ÿ]+){0,2})"

ATTRIBUTES: Final[tuple[Attribute, ...]] = (
    _attribute(
        "guarantee",
        r"\b(?:guarant\w+|warrant\w+|garant\w+)",
        "warranty, guarantee, garantie, garantía, garanti",
        "time",
        cue=r"guarant|warrant|garant",
    ),
    _attribute(
        "battery type",
        r"^\W*(?:what|which|welche\w*|quel\w*|vilk\w+|qué)\b(?!.*(?:capacity|life|"
        r"long)).*\b(?:batter\w+|cells?|piles?|pilas?)\b",
        "battery type, batteries, batterietyp",
        value=r"((?:\w+ )?\b(?:AAAA|AAA|AA|LR\d{1,2}|CR\d{4}|18650|21700|9 ?V block)\b(?: (?:cells?|batter\w+))?)",
    ),
    _attribute(
        "battery life",
        r"battery (?:life|last)|how long\b.*\b(?:batter\w+|charge|play|running)\b|akkulaufzeit|"
        r"laufzeit|autonom|batteritid",
        "battery life, runtime, playtime, battery hours, akkulaufzeit, laufzeit, autonomie, autonomía, batteritid",
        "time",
        cue=r"batter|(?:per|a|one|single) charge|playtime|\bplays\b|\bshines\b|\bruns\b|akku|laufzeit|autonom",
    ),
    _attribute(
        "price",
        r"\b(?:costs?|prices?|priced|expensive|cheap\w*|kostet|kosten|preis\w*|teuer\w*|günstig\w*|"
        r"billig\w*|prix|coût\w*|cher|chère|"
        r"precios?|cuesta\w*|caro|barat\w+|kostar|pris\w*|dyr\w*)\b|\bhow much (?:is|are) (?:it|they|"
        r"this|that|these|the [\w' -]+)\W*$",
        "price, cost, preis, prix, precio, pris, rrp, msrp",
        "money",
    ),
    _attribute(
        "brand",
        r"\b(?:brand|manufacturer|maker|who (?:makes|made|manufactures|produces)|marke|hersteller|"
        r"marque|fabricant|marca|fabricante|"
        r"märke|varumärke|tillverkare)\b",
        "brand, maker, manufacturer, vendor, marke, hersteller, marque, fabricant, marca, fabricante, märke, varumärke",
    ),
    _attribute(
        "name",
        r"\b(?:what (?:is|are) (?:it|they|this|the (?:product|article|item)) called|"
        r"name of the (?:product|item|article)|product(?:'s)? name|"
        r"(?:what|which) product is (?:it|this|that|shown)|wie heißt|comment s'appelle|cómo se llama|vad heter)\b",
        "title, name, product name, titel, bezeichnung, nom, nombre, namn",
    ),
    _attribute(
        "material",
        r"\b(?:made (?:out )?(?:of|from)|materials?|fabrics?|composition|consists?|composed|textiles?|"
        r"woraus|besteht|stoff|matière|"
        r"en quoi|composé\w*|de qué (?:está|es)|tejido|materiales|vad är .* (?:gjord|gjort|gjorda) av|tyg)\b",
        "material, fabric, composition, textile, stoff, zusammensetzung, matière, tejido, composición, tyg",
        cue=r"\bmade (?:out )?(?:of|from)\b|\bmaterials?\b|\bbesteht aus\b|\bcomposé",
        value=r"(\d{1,3} ?% [^\W\d_]+[\w' -]*(?:, \d{1,3} ?% [^\W\d_]+[\w' -]*)*)|\bmade (?:out )?(?:of|"
        r"from) ([^.,;]+)",
    ),
    _attribute(
        "origin",
        r"\bwhere\b.*\b(?:from|made|grown|produced|manufactured|sourced)\b|\b(?:origin|(?:which|"
        r"what) country|woher|wo (?:wird|wurde|ist)\b.*\bhergestellt|"
        r"welchem land|herkunft|d'où|quel pays|pays d|provenance|origine|de dónde|qué país|"
        r"dónde (?:se )?(?:fabrica|hace|está hecho)|origen|"
        r"varifrån|vilket land|ursprung\w*|var (?:är|tillverkas))\b",
        "country, origin, made in, herkunft, pays, origine, país, origen, land, ursprung",
        value=r"(?:(?i:product of|products? from|made in|produced in|grown in|country of origin:?|origin:?|"
        r"imported from|hergestellt in|"
        r"fabriqué (?:en|au)|hecho en|tillverkad i)|\bfrom|\baus) " + _PLACE,
    ),
    _attribute(
        "colour",
        r"\b(?:colou?rs?|coloured|colored|farben?|farbig|couleurs?|color|colores|färg\w*)\b",
        "colour, color, farbe, couleur, färg",
    ),
    _attribute(
        "washing temperature",
        r"^(?=.*\b(?:wash|clean|wasch|wäsch|lav|tvätt)).*\b(?:temperatur\w*|température|degrees|"
        r"grad\w*|degrés|grados|how (?:hot|warm)|wie (?:heiß|warm))\b",
        "washing temperature, temperature",
        "temperature",
    ),
    _attribute(
        "temperature",
        r"\b(?:temperatur\w*|température|how (?:hot|cold)|wie (?:heiß|kalt))\b",
        "temperature, temperatur, température",
        "temperature",
        cue=r"temp[eé]ratur|heat|resist",
    ),
    _attribute(
        "care",
        r"\bhow (?:do|can|should|must) (?:i|you|we|one)\b.*\b(?:wash|clean|care)\b|\bhow (?:is|"
        r"are) .*\b(?:washed|cleaned)\b|\bcare instructions?\b|"
        r"\bwie\b.*\b(?:wasche|gewaschen|reinige|pflege)\w*|\bcomment\b.*\b(?:laver|lave|nettoyer|"
        r"entretenir)\b|\bcómo\b.*\b(?:lava|limpia)\w*|"
        r"\bhur\b.*\b(?:tvättar|rengör)\w*",
        "care, washing, pflege, entretien, cuidado, skötsel",
        cue=r"\b(?:wash\w*|clean\w*|rinse|wipe|tumble|waschen|waschbar|reinigen|laver|lavage|nettoyer|"
        r"lavar|tvätt\w*)\b",
    ),
    _attribute(
        "storage",
        r"\b(?:how|where)\b.*\b(?:store|stored|storing|kept)\b|\bwhere\b.*\bkeep\b|\b(?:wie|"
        r"wo)\b.*\b(?:lagern|gelagert|aufbewahr\w+)\b|"
        r"\b(?:comment|où)\b.*\bconserv\w+|\b(?:cómo|dónde)\b.*\b(?:guard|conserv)\w+|\b(?:hur|var)\b.*\bförvara\w*",
        "storage, lagerung, conservation, förvaring",
        cue=r"\b(?:stored?|keep|kept|refrigerator|lagern|aufbewahren|conserver|conservar|guardar|förvaras?)\b",
    ),
    _attribute(
        "ingredients",
        r"\b(?:ingredients?|zutaten|ingrédients?|ingredientes|ingredienser)\b",
        "ingredient, zutat, zutaten, ingrédient, ingredientes, ingredienser",
        cue=r"\b(?:ingredients?|zutaten|ingrédients)\b",
    ),
    _attribute(
        "calories",
        r"\b(?:calor\w+|kcal|kalori\w+|energy (?:value|content)|brennwert)\b",
        "kcal, calorie, energy, kalorie, kalorien, brennwert, calorías",
        "nutrition",
    ),
    _attribute(
        "fat",
        r"\b(?:fat|fett\w*|matières? grasses?|grasas?)\b",
        "fat, fett, grasa",
        "share mass",
        cue=r"\b(?:fat|fett|grass?e?s?)",
    ),
    _attribute(
        "diameter",
        r"\b(?:diameter|durchmesser|diamètre|diámetro)\b|\bhow wide is the pan\b",
        "diameter, durchmesser, diamètre, diámetro",
        "length",
        cue=r"diameter|durchmesser|diamètre|ø",
    ),
    _attribute(
        "thickness",
        r"\b(?:how thick|thickness|wie dick|épaisseur|espesor|grosor|hur tjock)\b",
        "thickness, dicke, épaisseur, grosor",
        "length",
        cue=r"thick|dick|épais|grosor|tjock",
    ),
    _attribute(
        "width",
        r"\b(?:how wide|width|wie breit|breite|largeur|anchura|ancho|hur bred\w*|bredd)\b",
        "width, breite, largeur, ancho, bredd",
        "length",
        cue=r"\bwid|breit|larg|anch|bred",
    ),
    _attribute(
        "height",
        r"\b(?:how (?:tall|high)|height|wie hoch|höhe|hauteur|altura|hur hög\w*|höjd)\b",
        "height, höhe, hauteur, altura, höjd",
        "length",
        cue=r"\btall|\bhigh|height|hoch|höhe|haut|alt[ou]|hög|höjd",
    ),
    _attribute(
        "depth",
        r"\b(?:how deep|depth|wie tief|tiefe|profondeur|profundidad|hur djup\w*|djup)\b",
        "depth, tiefe, profondeur, profundidad, djup",
        "length",
        cue=r"deep|depth|tief|profond|djup",
    ),
    _attribute(
        "brightness",
        r"\b(?:bright\w*|lumens?|lux|wie hell|helligkeit|luminosité|brillo|ljusstark\w*|lumen)\b",
        "brightness, lumen, lux, luminous flux, helligkeit",
        "light",
    ),
    _attribute(
        "voltage",
        r"\b(?:volts?|voltage|spannung|tension|voltaje|spänning)\b",
        "voltage, volt, spannung, tension, voltaje, spänning",
        "voltage",
    ),
    _attribute(
        "power",
        r"\b(?:watts?|wattage|power|powerful|leistung|puissan\w+|potencia|effekt)\b",
        "power, watt, wattage, leistung, puissance, potencia, effekt",
        "power",
    ),
    _attribute(
        "frequency",
        r"\b(?:refresh rate|frequency|hertz|frequenz|bildwiederholrate|fréquence|frecuencia|"
        r"frekvens)\b",
        "refresh rate, frequency, frequenz, fréquence",
        "frequency",
    ),
    _attribute("frame rate", r"\b(?:frame rate|frames per second|fps)\b", "fps, frame rate", "frame rate"),
    _attribute(
        "noise",
        r"\b(?:how loud|how (?:noisy|quiet)|noise level|decibels?|wie laut|lautstärke|bruit|ruido|"
        r"ljudnivå)\b",
        "noise, noise level, loudness, lautstärke",
        "sound",
    ),
    _attribute(
        "speed",
        r"\b(?:how fast|speed|geschwindigkeit|vitesse|velocidad|hastighet)\b",
        "speed, geschwindigkeit, vitesse, velocidad, hastighet",
        "speed data_rate rotation",
    ),
    _attribute(
        "torque",
        r"\b(?:torque|drehmoment|couple|par máximo|vridmoment)\b",
        "torque, drehmoment, couple, vridmoment",
        "torque",
    ),
    _attribute("pressure", r"\b(?:pressure|druck|pression|presión|tryck)\b", "pressure, druck, pression", "pressure"),
    _attribute(
        "resolution",
        r"\b(?:resolution|pixels|auflösung|résolution|resolución|upplösning)\b",
        "resolution, auflösung, résolution",
        cue=r"\b(?:resolution|pixels?|auflösung)\b",
        value=r"\b(\d{3,4} ?[x\u00d7] ?\d{3,4}(?: pixels?)?|\d{3,4}[pi]|[48]K)\b",
    ),
    _attribute(
        "weight",
        r"\b(?:weigh\w*|heavy|heavier|mass|wiegt|schwer\w*|gewicht|pèse(?:nt)?|poids|pesa|peso|väger|"
        r"vikt)\b",
        "weight, mass, gewicht, poids, peso, vikt",
        "mass",
        cue=r"\bweigh|\bheavy|\bnet\b|gewicht|wiegt|poids|pèse|pesa|väger|vikt",
    ),
    _attribute(
        "capacity",
        r"\b(?:capacity|volume|litres?|liters?|millilitres?|how much (?:\w+ )?(?:does|do|can|is|"
        r"are) (?:it|they|this|the [\w' -]+?|there) (?:hold|contain|fit|in)|how much (?:\w+ )?fits?|"
        r"how much (?:is|are) (?:in|inside)|fassungsvermögen|inhalt|wie viel (?:passt|fasst|ist)|"
        r"contenance|capacité|capacidad|contenido|rymmer|volym|innehåll)\b",
        "volume, capacity, content, size, fassungsvermögen, inhalt, volumen, contenance, capacité, "
        "capacidad, volym, net content, net weight",
        "volume charge energy data mass",
        cue=r"\bhold|\bcapacity|\bcontain|\bfit|\bnet\b|inhalt|fasst|contenance|rymmer",
    ),
    _attribute(
        "duration",
        r"\bhow (?:long (?:does|do|can|will|should|may|must)|many (?:hours|minutes|days))\b|"
        r"\b(?:wie lange|combien de temps|cuánto (?:tiempo|dura)|hur länge)\b",
        "duration, dauer, durée, duración",
        "time",
        cue=r"\blasts?\b|lifetime|\bhält\b|\bdure\b|\bdura\b|\bhåller\b",
    ),
    _attribute(
        "length",
        r"\b(?:how long (?:is|are)|length|wie lang|länge|longueur|longitud|largo|hur lång\w*|längd)\b",
        "length, länge, longueur, longitud, largo, längd",
        "length",
        cue=r"\blong\b|length|\blang\b|länge|longue|largo|lång|längd",
    ),
    _attribute(
        "size",
        r"\b(?:how (?:big|large|small)|sizes?|dimensions?|measurements?|wie (?:groß|klein)|größen?|"
        r"maße|abmessungen|tailles?|mesures|tamaño|talla|medidas|dimensiones|hur (?:stor|stort|liten)|"
        r"storlek\w*|mått)\b",
        "size, dimension, dims, measurement, volume, größe, masse, maße, abmessung, abmessungen, "
        "taille, talla, tamaño, medidas, storlek, mått, content",
        "length volume mass",
        cue=r"\bsize\b|größe|taille|talla|storlek",
        value=r"\b((?i:size|größe|taille|talla|storlek):? (?:[A-Z]{1,4}|\d{1,3}(?:[./-]\d{1,3})?))\b|"
        r"\b(ONE SIZE)\b",
    ),
    _attribute(
        "protection class",
        r"\b(?:ip ?rating|ip ?class|protection class|schutzart|schutzklasse)\b",
        "ip rating, protection class, schutzart",
        value=r"\b(IP[X0-6][X0-9]K?)\b",
    ),
    _attribute(
        "connector",
        r"\b(?:plugs?|connectors?|ports?|sockets?|usb|stecker|anschluss|connecteur|prise|conector|"
        r"kontakt)\b",
        "connector, port, plug, anschluss",
        value=r"\b(USB(?: \d\.\d|(?:-[A-C])?)(?: Gen \d)?|HDMI(?: \d\.\d)?|DisplayPort|RJ45|Lightning|"
        r"[23]\.5 ?mm jack)",
    ),
)
"""In the order in which a question is compared with them: the more special attribute comes first."""

BY_NAME: Final = {attribute.name: attribute for attribute in ATTRIBUTES}


@lru_cache(maxsize=1024)
def asked_attributes(question: str) -> tuple[Attribute, ...]:
    """Returns the attributes that a question may ask for, the most special one first."""
    return tuple(attribute for attribute in ATTRIBUTES if attribute.asked.search(question))


def attribute_of_column(column: str) -> Attribute | None:
    """Returns the attribute with the longest name that a column has."""
    parts = column_words(column)
    named = [
        (max(len(name) for name in attribute.columns if name <= parts), -index)
        for index, attribute in enumerate(ATTRIBUTES)
        if attribute.names(column)
    ]
    return ATTRIBUTES[-max(named)[1]] if named else None
