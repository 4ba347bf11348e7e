"""What is said of hotels, rooms and stays, in six languages; what stands at the same place says the same."""

from __future__ import annotations

Texts = dict[str, tuple[str, ...]]

LANGUAGES = ("en", "fr", "de", "es", "it", "ar")

OPENINGS: Texts = {
    "en": (
        "{name} lies in a quiet side street, ten minutes on foot from the centre of {city}.",
        "A few steps from the river, {name} looks back on a hundred years as a guest house of {city}.",
        "{name} was a merchant's home until it was rebuilt as a hotel in the old town of {city}.",
        "Opposite the main station of {city}, {name} is a good place for short stays.",
    ),
    "fr": (
        "{name} se trouve dans une rue calme, à dix minutes à pied du centre de {city}.",
        "À quelques pas du fleuve, {name} accueille les voyageurs de {city} depuis cent ans.",
        "{name} était la maison d'un négociant avant de devenir un hôtel dans la vieille ville de {city}.",
        "En face de la gare centrale de {city}, {name} convient bien aux courts séjours.",
    ),
    "de": (
        "{name} liegt in einer ruhigen Seitenstraße, zehn Minuten zu Fuß vom Zentrum von {city}.",
        "Wenige Schritte vom Fluss entfernt empfängt {name} seit hundert Jahren Gäste in {city}.",
        "{name} war das Haus eines Kaufmanns, ehe es zum Hotel in der Altstadt von {city} umgebaut wurde.",
        "Gegenüber dem Hauptbahnhof von {city} eignet sich {name} gut für kurze Aufenthalte.",
    ),
    "es": (
        "{name} está en una calle tranquila, a diez minutos a pie del centro de {city}.",
        "A unos pasos del río, {name} recibe a los viajeros de {city} desde hace cien años.",
        "{name} fue la casa de un comerciante antes de ser un hotel en el casco antiguo de {city}.",
        "Frente a la estación central de {city}, {name} es un buen lugar para estancias cortas.",
    ),
    "it": (
        "{name} si trova in una via tranquilla, a dieci minuti a piedi dal centro di {city}.",
        "A pochi passi dal fiume, {name} accoglie i viaggiatori di {city} da cento anni.",
        "{name} era la casa di un mercante prima di diventare un hotel nel centro storico di {city}.",
        "Di fronte alla stazione centrale di {city}, {name} è adatto a soggiorni brevi.",
    ),
    "ar": (
        "يقع {name} في شارع هادئ على بعد عشر دقائق سيرًا من وسط {city}.",
        "على بعد خطوات من النهر يستقبل {name} زوار {city} منذ مئة عام.",
        "كان {name} بيت تاجر قبل أن يصبح فندقًا في المدينة القديمة في {city}.",
        "أمام المحطة الرئيسية في {city}، يناسب {name} الإقامات القصيرة.",
    ),
}

DETAILS: Texts = {
    "en": (
        "Breakfast is served in the courtyard when the weather allows it.",
        "All rooms look onto the garden and have a desk.",
        "The roof terrace is open until ten in the evening.",
        "Bicycles can be borrowed at the reception.",
    ),
    "fr": (
        "Le petit-déjeuner est servi dans la cour quand le temps le permet.",
        "Toutes les chambres donnent sur le jardin et disposent d'un bureau.",
        "La terrasse sur le toit est ouverte jusqu'à vingt-deux heures.",
        "Des vélos sont prêtés à la réception.",
    ),
    "de": (
        "Das Frühstück wird im Hof serviert, wenn das Wetter es erlaubt.",
        "Alle Zimmer blicken auf den Garten und haben einen Schreibtisch.",
        "Die Dachterrasse ist bis zweiundzwanzig Uhr geöffnet.",
        "Fahrräder werden an der Rezeption verliehen.",
    ),
    "es": (
        "El desayuno se sirve en el patio cuando el tiempo lo permite.",
        "Todas las habitaciones dan al jardín y tienen escritorio.",
        "La terraza de la azotea está abierta hasta las diez de la noche.",
        "En la recepción se prestan bicicletas.",
    ),
    "it": (
        "La colazione è servita in cortile quando il tempo lo permette.",
        "Tutte le camere si affacciano sul giardino e hanno una scrivania.",
        "La terrazza sul tetto è aperta fino alle ventidue.",
        "Alla reception si prestano biciclette.",
    ),
    "ar": (
        "يُقدَّم الفطور في الفناء حين يسمح الطقس.",
        "تطل جميع الغرف على الحديقة وفيها مكتب.",
        "تبقى شرفة السطح مفتوحة حتى العاشرة مساءً.",
        "يمكن استعارة الدراجات من الاستقبال.",
    ),
}

ROOMS: Texts = {
    "en": ("Single Room", "Double Room", "Twin Room with View", "Family Room", "Junior Suite"),
    "fr": ("Chambre simple", "Chambre double", "Chambre à deux lits avec vue", "Chambre familiale", "Suite junior"),
    "de": ("Einzelzimmer", "Doppelzimmer", "Zweibettzimmer mit Aussicht", "Familienzimmer", "Juniorsuite"),
    "es": ("Habitación individual", "Habitación doble", "Habitación doble con vistas", "Habitación familiar", "Suite"),
    "it": ("Camera singola", "Camera doppia", "Camera doppia con vista", "Camera familiare", "Junior suite"),
    "ar": ("غرفة مفردة", "غرفة مزدوجة", "غرفة بسريرين مع إطلالة", "غرفة عائلية", "جناح صغير"),
}

FACILITIES: Texts = {
    "en": (
        "Free WiFi",
        "Air conditioning",
        "Lift",
        "Bar",
        "Garden",
        "Non-smoking rooms",
        "Laundry",
        "Safe",
    ),
    "fr": (
        "Wi-Fi gratuit",
        "Climatisation",
        "Ascenseur",
        "Bar",
        "Jardin",
        "Chambres non-fumeurs",
        "Laverie",
        "Coffre",
    ),
    "de": (
        "Kostenloses WLAN",
        "Klimaanlage",
        "Aufzug",
        "Bar",
        "Garten",
        "Nichtraucherzimmer",
        "Wäscherei",
        "Safe",
    ),
    "es": (
        "Wifi gratis",
        "Aire acondicionado",
        "Ascensor",
        "Bar",
        "Jardín",
        "No fumadores",
        "Lavandería",
        "Caja fuerte",
    ),
    "it": (
        "Wi-Fi gratuito",
        "Aria condizionata",
        "Ascensore",
        "Bar",
        "Giardino",
        "Non fumatori",
        "Lavanderia",
        "Cassaforte",
    ),
    "ar": (
        "واي فاي مجاني",
        "تكييف",
        "مصعد",
        "مقهى",
        "حديقة",
        "غرف لغير المدخنين",
        "مغسلة",
        "خزنة",
    ),
}

FACILITY_IDS = (107, 109, 48, 7, 14, 16, 22, 8)

POLICIES: Texts = {
    "en": (
        "Children of any age are welcome.",
        "Pets are allowed on request.",
        "Public parking is available nearby.",
    ),
    "fr": (
        "Les enfants de tout âge sont bienvenus.",
        "Les animaux sont admis sur demande.",
        "Parking public à proximité.",
    ),
    "de": (
        "Kinder jeden Alters sind willkommen.",
        "Haustiere auf Anfrage.",
        "Öffentliche Parkplätze in der Nähe.",
    ),
    "es": (
        "Se admiten niños de todas las edades.",
        "Se admiten mascotas bajo petición.",
        "Hay aparcamiento público cerca.",
    ),
    "it": (
        "I bambini di ogni età sono benvenuti.",
        "Animali ammessi su richiesta.",
        "Parcheggio pubblico nelle vicinanze.",
    ),
    "ar": (
        "نرحب بالأطفال من جميع الأعمار.",
        "الحيوانات الأليفة مسموح بها عند الطلب.",
        "يوجد موقف عام قريب.",
    ),
}

POLICY_TYPES = ("POLICY_CHILDREN", "POLICY_PETS", "POLICY_HOTEL_PARKING")

HOTEL_TYPES = ((204, "Hotels"), (203, "Hostels"), (201, "Apartments"), (208, "Bed and breakfasts"), (206, "Resorts"))

NAMES = ("Hotel {word}", "{word} House", "The {word}", "Residence {word}", "{word} Inn", "Casa {word}")

WORDS = (
    "Aurora", "Bellevue", "Central", "Dorada", "Esperia", "Fontana", "Grandezza", "Harbour", "Imperial", "Jasmin",
    "Kestrel", "Lindenhof", "Miramar", "Nova", "Orangerie", "Palmera", "Quai", "Rosengarten", "Savoy", "Terminus",
    "Union", "Villa Verde", "Windsor", "Ysaye", "Zenith", "Châtelet", "Müller", "L'Étoile", "Al Bustan", "São Bento",
)  # fmt: skip

CHAINS = ("Not Available",) * 6 + ("Best Western", "ibis", "Radisson Hotels", "NH Hotels")

PROS: Texts = {
    "en": ("The staff were kind and the room was clean.", "Close to everything, and quiet at night.", ""),
    "fr": ("Personnel aimable et chambre propre.", "Près de tout et calme la nuit.", ""),
    "de": ("Freundliches Personal und ein sauberes Zimmer.", "Nah an allem und nachts ruhig.", ""),
    "es": ("Personal amable y habitación limpia.", "Cerca de todo y tranquilo de noche.", ""),
    "it": ("Personale gentile e camera pulita.", "Vicino a tutto e silenzioso di notte.", ""),
    "ar": ("كان الموظفون لطفاء والغرفة نظيفة.", "قريب من كل شيء وهادئ ليلًا.", ""),
}

CONS: Texts = {
    "en": ("The lift was out of order for a day.", "Breakfast could be better.", ""),
    "fr": ("L'ascenseur était en panne une journée.", "Le petit-déjeuner pourrait être meilleur.", ""),
    "de": ("Der Aufzug war einen Tag lang außer Betrieb.", "Das Frühstück könnte besser sein.", ""),
    "es": ("El ascensor estuvo averiado un día.", "El desayuno podría ser mejor.", ""),
    "it": ("L'ascensore è stato guasto per un giorno.", "La colazione potrebbe essere migliore.", ""),
    "ar": ("تعطل المصعد ليوم كامل.", "يمكن أن يكون الفطور أفضل.", ""),
}

HEADLINES: Texts = {
    "en": ("Very good", "Would come again", "Good value"),
    "fr": ("Très bien", "Nous reviendrons", "Bon rapport qualité-prix"),
    "de": ("Sehr gut", "Gerne wieder", "Gutes Preis-Leistungs-Verhältnis"),
    "es": ("Muy bien", "Volveríamos", "Buena relación calidad-precio"),
    "it": ("Molto bene", "Ci torneremmo", "Buon rapporto qualità-prezzo"),
    "ar": ("جيد جدًا", "سنعود مرة أخرى", "قيمة جيدة"),
}

GUESTS = (
    ("Emma", "gb", "en"), ("Liam", "us", "en"), ("Aoife", "ie", "en"), ("Camille", "fr", "fr"), ("Hugo", "be", "fr"),
    ("Lena", "de", "de"), ("Jonas", "ch", "de"), ("Lucía", "es", "es"), ("Mateo", "mx", "es"), ("Giulia", "it", "it"),
    ("Marco", "it", "it"), ("Yasmin", "ae", "ar"), ("Omar", "ma", "ar"),
)  # fmt: skip

GUEST_TYPES = ("couple", "solo traveller", "family with young children", "group", "business traveller")
