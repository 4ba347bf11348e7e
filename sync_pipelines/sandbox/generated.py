"""Generated rows: any number, the same for the same seed, each by itself from its number alone."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count
from random import Random

Row = tuple[str | None, ...]
"""A row's values as PostgreSQL writes them, in the table's column order; None for NULL."""

Texts = dict[str, tuple[str, ...]]
"""Texts by language; those that stand at the same place say the same."""

_BEGIN = datetime(2024, 1, 1)
_MINUTES = int((datetime(2026, 10, 1) - _BEGIN).total_seconds()) // 60

# As in an application that grows: most records in all three languages, some not translated yet.
_LANGUAGES = (("en", "id", "ar"),) * 6 + (("en", "id"),) * 2 + (("id",), ("en",))

_CATEGORIES = ("habits", "health", "productivity", "character", "worship", "learning", "family", "finance")

_TAGS = (
    "morning",
    "sleep",
    "focus",
    "gratitude",
    "patience",
    "reading",
    "walking",
    "planning",
    "rest",
    "charity",
)

_TITLES: Texts = {
    "en": (
        "A small step",
        "Better mornings",
        "Keeping a promise",
        "Time for the family",
        "Learning every day",
    ),
    "id": (
        "Langkah kecil",
        "Pagi yang lebih baik",
        "Menepati janji",
        "Waktu untuk keluarga",
        "Belajar tiap hari",
    ),
    "ar": ("خطوة صغيرة", "صباح أفضل", "الوفاء بالوعد", "وقت للعائلة", "التعلم كل يوم"),
}

_SENTENCES: Texts = {
    "en": (
        "A habit grows when it is tied to something that happens every day anyway.",
        "Start with two minutes, and let the length take care of itself.",
        "Put the book on the pillow in the morning, and it will be read in the evening.",
        "A walk after a meal costs ten minutes and gives back an afternoon.",
        "Write the three things that matter today before opening any screen.",
        "Sleep comes more easily in a room that is dark, cool and quiet.",
        "Thank one person a day, and say what for.",
        "Money that is set aside first is not missed later.",
        "What is written down no longer has to be remembered.",
        "Missing once is an accident; missing twice is the start of another habit.",
        "A plan that survives a bad day is worth more than one that needs good ones.",
        "Listen to the end before you think of the answer.",
    ),
    "id": (
        "Kebiasaan tumbuh bila dikaitkan dengan sesuatu yang memang terjadi setiap hari.",
        "Mulailah dengan dua menit, dan biarkan lamanya bertambah dengan sendirinya.",
        "Letakkan buku di atas bantal pada pagi hari, maka ia akan dibaca pada malam hari.",
        "Berjalan kaki setelah makan hanya perlu sepuluh menit dan menyegarkan sore hari.",
        "Tulis tiga hal yang penting hari ini sebelum membuka layar apa pun.",
        "Tidur lebih mudah datang di kamar yang gelap, sejuk, dan tenang.",
        "Berterima kasihlah kepada satu orang setiap hari, dan sebutkan alasannya.",
        "Uang yang disisihkan di awal tidak akan terasa hilang di kemudian hari.",
        "Apa yang sudah ditulis tidak perlu lagi diingat-ingat.",
        "Terlewat sekali adalah kebetulan; terlewat dua kali adalah awal kebiasaan lain.",
        "Rencana yang bertahan pada hari buruk lebih berharga daripada yang hanya cocok untuk hari baik.",
        "Dengarkan sampai selesai sebelum memikirkan jawabannya.",
    ),
    "ar": (
        "تنمو العادة حين ترتبط بشيء يحدث كل يوم على أي حال.",
        "ابدأ بدقيقتين، ودع المدة تطول من تلقاء نفسها.",
        "ضع الكتاب على الوسادة صباحًا، فسوف يُقرأ مساءً.",
        "المشي بعد الطعام عشر دقائق ينعش بقية اليوم.",
        "اكتب الأمور الثلاثة المهمة اليوم قبل أن تفتح أي شاشة.",
        "يأتي النوم بسهولة أكبر في غرفة مظلمة باردة هادئة.",
        "اشكر شخصًا واحدًا كل يوم، واذكر السبب.",
        "المال الذي يُدَّخر أولًا لا يُفتقد لاحقًا.",
        "ما كُتب لا حاجة إلى حفظه في الذاكرة.",
        "التخلف مرة واحدة مصادفة، والتخلف مرتين بداية عادة أخرى.",
        "الخطة التي تصمد في يوم سيئ خير من خطة تحتاج إلى أيام جيدة.",
        "أنصت حتى النهاية قبل أن تفكر في الجواب.",
    ),
}


def knowledge_rows(*, seed: int, text_bytes: int) -> Iterator[Row]:
    """Yield KnowledgeReference rows without end.

    Args:
        seed: another seed gives other texts and times under the same ids.
        text_bytes: the size of a record's content over all its languages, in bytes of UTF-8; reached, and
            exceeded by no more than a sentence a language.
    """
    for number in count(1):
        yield _knowledge(number, Random(f"{seed}/knowledge/{number}"), text_bytes)


def journey_rows(*, seed: int) -> Iterator[Row]:
    """Yield JourneyTemplate rows without end.

    Args:
        seed: another seed gives other texts and times under the same ids.
    """
    for number in count(1):
        yield _journey(number, Random(f"{seed}/journey/{number}"))


def _knowledge(number: int, random: Random, text_bytes: int) -> Row:
    languages = random.choice(_LANGUAGES)
    content = {language: _text(language, random, text_bytes // len(languages)) for language in languages}
    title = _localized(_TITLES, random)
    created, updated = _times(random)
    return (
        _key(number),
        _json({language: f"{title[language]} {number}" for language in languages}),
        _json(content),
        random.choice(_SENTENCES["ar"]) if random.random() < 0.3 else None,
        random.choice(_CATEGORIES),
        _array(random.sample(_TAGS, random.randrange(4))),
        "generated" if random.random() < 0.8 else None,
        created,
        updated,
    )


def _journey(number: int, random: Random) -> Row:
    created, updated = _times(random)
    weeks = [_week(week, random) for week in range(1, random.randint(2, 6))]
    return (
        _key(number),
        _array(random.sample(_TAGS, 2)),
        _array(random.sample(_CATEGORIES, 2)),
        _json({"title": _localized(_TITLES, random), "weeks": weeks}),
        "t" if random.random() < 0.9 else "f",
        str(random.randrange(1000)),
        created,
        updated,
    )


def _week(number: int, random: Random) -> dict[str, object]:
    tasks = [{"text": _localized(_SENTENCES, random), "minutes": random.choice((5, 10, 20))} for _ in range(3)]
    return {"week": number, "focus": _localized(_TITLES, random), "tasks": tasks}


def _localized(texts: Texts, random: Random) -> dict[str, str]:
    """One text in every language: those that stand at the same place say the same."""
    chosen = random.randrange(len(texts["en"]))
    return {language: choices[chosen] for language, choices in texts.items()}


def _text(language: str, random: Random, size: int) -> str:
    sentences, written = [], 0
    while written < size:
        sentence = random.choice(_SENTENCES[language])
        sentences.append(sentence)
        written += len(sentence.encode()) + 1
    return " ".join(sentences)


def _times(random: Random) -> tuple[str, str]:
    created = random.randrange(_MINUTES)
    updated = random.randrange(created, _MINUTES)
    return _at(created), _at(updated)


def _at(minutes: int) -> str:
    return (_BEGIN + timedelta(minutes=minutes)).isoformat(timespec="milliseconds")


def _key(number: int) -> str:
    return f"gen_{number:09d}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _array(words: list[str]) -> str:
    return f"{{{','.join(words)}}}"
