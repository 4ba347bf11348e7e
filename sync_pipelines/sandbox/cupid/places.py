"""Cities in which the stand-in's hotels lie."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class City:
    """A city, with what an address in it looks like.

    Args:
        postal: `#` stands for a digit; empty where addresses have none.
        street: how house number and street stand together.
        language: what is spoken there.
    """

    name: str
    country: str
    state: str | None
    airport: str
    latitude: float
    longitude: float
    postal: str
    phone: str
    street: str
    streets: tuple[str, ...]
    language: str


CITIES = (
    City("London", "gb", None, "LHR", 51.5072, -0.1276, "W#R #NT", "+44 20 7", "{number} {street}",
         ("Gower Street", "Cromwell Road", "Great Russell Street", "Marylebone High Street"), "en"),
    City("Edinburgh", "gb", "Scotland", "EDI", 55.9533, -3.1883, "EH# #AB", "+44 131 2", "{number} {street}",
         ("Royal Mile", "Rose Street", "Dean Terrace"), "en"),
    City("Dublin", "ie", None, "DUB", 53.3498, -6.2603, "D0# X4##", "+353 1 4", "{number} {street}",
         ("Parnell Square", "Baggot Street Lower", "Wellington Quay"), "en"),
    City("New York", "us", "NY", "JFK", 40.7128, -74.0060, "100##", "+1 212 5", "{number} {street}",
         ("West 44th Street", "Lexington Avenue", "Bowery", "East 31st Street"), "en"),
    City("Toronto", "ca", "ON", "YYZ", 43.6532, -79.3832, "M5V #K#", "+1 416 3", "{number} {street}",
         ("King Street West", "Spadina Avenue", "Bloor Street East"), "en"),
    City("Sydney", "au", "NSW", "SYD", -33.8688, 151.2093, "20##", "+61 2 9", "{number} {street}",
         ("George Street", "Macleay Street", "Crown Street"), "en"),
    City("Paris", "fr", None, "CDG", 48.8566, 2.3522, "750##", "+33 1 4", "{number} {street}",
         ("rue de Turenne", "boulevard Saint-Michel", "rue des Martyrs", "avenue Mac-Mahon"), "fr"),
    City("Lyon", "fr", None, "LYS", 45.7640, 4.8357, "6900#", "+33 4 7", "{number} {street}",
         ("rue Mercière", "quai Saint-Antoine", "cours Gambetta"), "fr"),
    City("Berlin", "de", None, "BER", 52.5200, 13.4050, "101##", "+49 30 2", "{street} {number}",
         ("Torstraße", "Kastanienallee", "Chausseestraße", "Oranienburger Straße"), "de"),
    City("München", "de", "Bayern", "MUC", 48.1351, 11.5820, "803##", "+49 89 5", "{street} {number}",
         ("Schillerstraße", "Goethestraße", "Leopoldstraße"), "de"),
    City("Wien", "at", None, "VIE", 48.2082, 16.3738, "10#0", "+43 1 5", "{street} {number}",
         ("Mariahilfer Straße", "Praterstraße", "Neubaugasse"), "de"),
    City("Barcelona", "es", "Catalunya", "BCN", 41.3874, 2.1686, "080##", "+34 93 3", "{street}, {number}",
         ("Carrer de Balmes", "Passeig de Gràcia", "Carrer de Mallorca"), "es"),
    City("Sevilla", "es", "Andalucía", "SVQ", 37.3891, -5.9845, "410##", "+34 95 4", "{street}, {number}",
         ("Calle Betis", "Calle Sierpes", "Alameda de Hércules"), "es"),
    City("Ciudad de México", "mx", "CDMX", "MEX", 19.4326, -99.1332, "066##", "+52 55 5", "{street} {number}",
         ("Avenida Álvaro Obregón", "Calle de Durango", "Paseo de la Reforma"), "es"),
    City("Roma", "it", "Lazio", "FCO", 41.9028, 12.4964, "001##", "+39 06 4", "{street} {number}",
         ("Via Nazionale", "Via dei Serpenti", "Viale Trastevere", "Via Cavour"), "it"),
    City("Firenze", "it", "Toscana", "FLR", 43.7696, 11.2558, "501##", "+39 055 2", "{street} {number}",
         ("Via dei Servi", "Borgo San Jacopo", "Via Faenza"), "it"),
    City("Marrakech", "ma", None, "RAK", 31.6295, -7.9811, "400##", "+212 524 3", "{number} {street}",
         ("Derb Dabachi", "Rue Bab Doukkala", "Avenue Mohammed V"), "ar"),
    City("Dubai", "ae", "Dubai", "DXB", 25.2048, 55.2708, "", "+971 4 3", "{street}, {number}",
         ("Al Rigga Road", "Sheikh Zayed Road", "Al Seef Street"), "ar"),
    City("Amman", "jo", None, "AMM", 31.9539, 35.9106, "111##", "+962 6 5", "{number} {street}",
         ("Rainbow Street", "Queen Rania Street", "Wadi Saqra Street"), "ar"),
)  # fmt: skip
