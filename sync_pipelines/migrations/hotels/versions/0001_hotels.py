"""Hotels: properties and what belongs to them, and the books of what was fetched."""

from sync_pipelines import migrations
from sync_pipelines.engine.sql import identifier, literal, qualified

revision = "hotels_0001"
down_revision = None
branch_labels = None
depends_on = None

_OF_PROPERTY = "hotel_id bigint NOT NULL REFERENCES {properties} (hotel_id) ON DELETE CASCADE"

_TABLES = {
    "property_ids": (
        "The hotels that are asked for; whoever adds a row gets the hotel with the next run.",
        ("hotel_id bigint PRIMARY KEY", "added_at timestamptz NOT NULL DEFAULT pg_catalog.now()"),
    ),
    "properties": (
        "A hotel as Cupid tells it; sync_status, data_version and last_updated are the sync's.",
        (
            "hotel_id bigint PRIMARY KEY",
            "cupid_id bigint",
            "hotel_type_id bigint",
            "hotel_type text",
            "chain_id bigint",
            "chain text",
            "hotel_name text",
            "stars int",
            "rating double precision",
            "review_count int",
            "latitude double precision",
            "longitude double precision",
            "address text",
            "city text",
            "state text",
            "country text",
            "postal_code text",
            "phone text",
            "fax text",
            "email text",
            "airport_code text",
            "main_image_th text",
            "checkin_start text",
            "checkin_end text",
            "checkout text",
            "instructions jsonb",
            "special_instructions text",
            "parking text",
            "group_room_min int",
            "child_allowed boolean",
            "pets_allowed boolean",
            "description text",
            "markdown_description text",
            "important_info text",
            "sync_status text NOT NULL DEFAULT 'synced' CHECK (sync_status IN ('synced', 'not_found'))",
            "data_version bigint NOT NULL DEFAULT 1",
            "last_updated timestamptz NOT NULL DEFAULT pg_catalog.now()",
        ),
    ),
    "rooms": (
        "The kinds of rooms of a hotel.",
        (
            _OF_PROPERTY,
            "room_id bigint NOT NULL",
            "room_name text",
            "description text",
            "room_size_square double precision",
            "room_size_unit text",
            "max_adults int",
            "max_children int",
            "max_occupancy int",
            "bed_relation text",
            "bed_types jsonb",
            "room_amenities jsonb",
            "views jsonb",
            "PRIMARY KEY (hotel_id, room_id)",
        ),
    ),
    "photos": (
        "Pictures of a hotel, or of one of its rooms; photo_id is a hash of room and address.",
        (
            _OF_PROPERTY,
            "photo_id text NOT NULL",
            "room_id bigint",
            "url text",
            "hd_url text",
            "image_description text",
            "image_class1 text",
            "image_class2 text",
            "main_photo boolean",
            "score double precision",
            "class_id bigint",
            "class_order int",
            "PRIMARY KEY (hotel_id, photo_id)",
            "FOREIGN KEY (hotel_id, room_id) REFERENCES {rooms} (hotel_id, room_id) ON DELETE CASCADE",
        ),
    ),
    "facilities": (
        "What a hotel has.",
        (_OF_PROPERTY, "facility_id bigint NOT NULL", "name text", "PRIMARY KEY (hotel_id, facility_id)"),
    ),
    "policies": (
        "The rules of a hotel; without an id of its own policy_id is a hash of type and name.",
        (
            _OF_PROPERTY,
            "policy_id text NOT NULL",
            "policy_type text",
            "name text",
            "description text",
            "child_allowed text",
            "pets_allowed text",
            "parking text",
            "PRIMARY KEY (hotel_id, policy_id)",
        ),
    ),
    "reviews": (
        "What guests say; without an id of its own review_id is a hash of the fields.",
        (
            _OF_PROPERTY,
            "review_id text NOT NULL",
            "average_score double precision",
            "country text",
            "type text",
            "name text",
            "date timestamp",
            "headline text",
            "language text",
            "pros text",
            "cons text",
            "source text",
            "PRIMARY KEY (hotel_id, review_id)",
        ),
    ),
    "translations": (
        "A hotel's texts in other languages.",
        (
            _OF_PROPERTY,
            "lang text NOT NULL",
            "hotel_name text",
            "hotel_type text",
            "description text",
            "markdown_description text",
            "important_info text",
            "instructions jsonb",
            "special_instructions text",
            "parking text",
            "facilities jsonb",
            "policies jsonb",
            "rooms jsonb",
            "PRIMARY KEY (hotel_id, lang)",
        ),
    ),
    "property_payloads": (
        "Each answer as it was last fetched, whole. part: properties, reviews or translations; record_key: the hotel's "
        "id, for translations a JSON array of id and language; first_seen_at is of this payload; data_version counts "
        "the real changes of its rows, changed_at is the time of the last.",
        (
            "part text NOT NULL",
            "record_key text NOT NULL",
            "payload jsonb NOT NULL",
            "hash text NOT NULL",
            "first_seen_at timestamptz NOT NULL",
            "data_version bigint NOT NULL",
            "changed_at timestamptz NOT NULL",
            "PRIMARY KEY (part, record_key)",
        ),
    ),
    "property_checks": (
        "When each of them was last asked for, and what came; written at each check.",
        (
            "part text NOT NULL",
            "record_key text NOT NULL",
            "asked boolean NOT NULL DEFAULT true",
            "checked_at timestamptz",
            "fetched_at timestamptz",
            "status text NOT NULL DEFAULT 'unfetched' "
            "CHECK (status IN ('unfetched', 'current', 'absent', 'failed', 'refused', 'waiting'))",
            "http_status int",
            "reason text",
            "failures int NOT NULL DEFAULT 0",
            "PRIMARY KEY (part, record_key)",
        ),
    ),
    "property_changes": (
        "What changed in the rows of a hotel, from what to what, and when.",
        (
            "part text NOT NULL",
            "record_key text NOT NULL",
            "data_version bigint NOT NULL",
            "path text NOT NULL",
            '"old" jsonb',
            '"new" jsonb',
            "changed_at timestamptz NOT NULL",
            "PRIMARY KEY (part, record_key, data_version, path)",
        ),
    ),
    "property_fields": (
        "The fields that the answers have; expected is false of one that is new.",
        (
            "part text NOT NULL",
            "path text NOT NULL",
            "kinds text[] NOT NULL",
            "first_seen_at timestamptz NOT NULL DEFAULT pg_catalog.now()",
            "expected boolean NOT NULL DEFAULT true",
            "PRIMARY KEY (part, path)",
        ),
    ),
    "property_requests": (
        "Requests sent to an API a day (UTC), by which a budget is kept.",
        ("api text NOT NULL", "day date NOT NULL", "requests bigint NOT NULL", "PRIMARY KEY (api, day)"),
    ),
}

_INDEXES = {
    "properties_country_city_idx": ("properties", "country, city"),
    "properties_last_updated_idx": ("properties", "last_updated"),
    "properties_not_found_idx": ("properties", "hotel_id) WHERE (sync_status = 'not_found'"),
    "photos_room_idx": ("photos", "hotel_id, room_id"),
    "facilities_facility_idx": ("facilities", "facility_id"),
    "reviews_date_idx": ("reviews", "hotel_id, date"),
    "translations_lang_idx": ("translations", "lang"),
    "property_changes_changed_at_idx": ("property_changes", "changed_at"),
}

_STATUS = """CREATE VIEW {property_status} AS
SELECT p.hotel_id, p.hotel_name, c.checked_at AS last_synced, p.last_updated,
    CASE WHEN c.status IN ('failed', 'refused') THEN c.status ELSE p.sync_status END AS sync_status,
    p.data_version, c.fetched_at, c.reason
FROM {properties} AS p
LEFT JOIN {property_checks} AS c ON c.part = 'properties' AND c.record_key = p.hotel_id::text"""


def upgrade() -> None:
    schema = migrations.schema_name()
    names = {name: qualified(schema, name) for name in (*_TABLES, "property_status")}
    for name, (comment, columns) in _TABLES.items():
        listed = ", ".join(columns).replace("{properties}", names["properties"]).replace("{rooms}", names["rooms"])
        narrow = " WITH (fillfactor = 70)" if name == "property_checks" else ""
        migrations.execute(f"CREATE TABLE {names[name]} ({listed}){narrow}")
        migrations.execute(f"COMMENT ON TABLE {names[name]} IS {literal(comment)}")
    for index, (table, columns) in _INDEXES.items():
        migrations.execute(f"CREATE INDEX {identifier(index)} ON {names[table]} ({columns})")
    migrations.execute(_STATUS.format(**names))
    migrations.execute(
        f"COMMENT ON VIEW {names['property_status']} IS "
        "'Of each hotel: when it was last asked for, when it last changed, its version, and whether it is well.'"
    )
