"""What the notes of the sandbox say, in eleven languages; all of it is invented."""

from __future__ import annotations

LINES: dict[str, tuple[str, ...]] = {
    "en": ("Water the plants on the balcony", "Call the bicycle shop about the brakes", "Ideas for the long weekend"),
    "de": ("Äpfel, Nüsse und Müsli kaufen", "Straßenbahn fährt um zwölf", "Überlegen, was noch fehlt"),
    "fr": ("Réserver une table près de la gare", "L'été prochain, à vélo", "Où sont les clés ?"),
    "es": ("¿Quién trae la tortilla?", "Mañana, leña y carbón", "El niño aprende a nadar"),
    "pl": ("Zażółć gęślą jaźń", "Kupić świeży chleb", "Dwie książki z biblioteki"),
    "ru": ("Позвонить в мастерскую", "Хлеб, молоко, чай", "Съездить на озеро"),
    "el": ("Ψωμί, ελιές και τυρί", "Το πλοίο φεύγει στις οκτώ", "Καλημέρα σε όλους"),
    "ar": ("شراء الخبز والزيتون", "موعد الطبيب يوم الأحد", "فكرة للسفر في الصيف"),
    "he": ("לקנות לחם וחלב", "פגישה ביום שני בבוקר", "רעיונות לטיול"),
    "ja": ("牛乳とパンを買う", "図書館に本を返す", "週末の計画を立てる"),
    "hi": ("दूध और रोटी लाना", "किताबें लौटानी हैं", "अगले हफ्ते की योजना"),
}

EMOJI = ("😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🧑🏽‍🚀", "🇨🇭", "❤️", "👍🏿", "🫶🏻")
"""Of one code point and of many, which no limit may cut in two."""

ODD = (
    "a\ttab, a \u00a0hard space, a\u200bzero width, a\u00adhyphen",
    "right \u202eto left\u202c and \u2067isolated\u2069",
    "bell \x07, escape \x1b, unit \x1f, delete \x7f",
    "cafe\u0301 and caf\u00e9 are not the same letters",
    "a line\u2028separator and a paragraph\u2029separator",
    "quotes \"'`, a backslash \\, <b>no markup</b> & &amp; **nor** _this_",
    "  blanks before and after  ",
    "carriage\r\nreturn",
)

ITEMS = ("bread", "Milch", "œufs", "zanahorias", "чай", "ελιές", "خبز", "חלב", "お米", "चाय", "🍎", "")
PLACES = ("kitchen", "garden", "work", "Reise", "santé", "ideas, loose", "a,b,c", "🏡 home", "مهم", "x" * 60)
