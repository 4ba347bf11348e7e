"""What syncs of notes need: users' credentials, the keys that notes were given, and what was made of each page."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from sync_pipelines import migrations

revision = "ledger_0009"
down_revision = "ledger_0008"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")
_NONE = sa.text("'{}'::jsonb")
_MOMENT = sa.DateTime(timezone=True)


def _column(name: str, kind: sa.types.TypeEngine, comment: str, *, null: bool = False, **more) -> sa.Column:
    return sa.Column(name, kind, nullable=null, comment=comment, **more)


def _record() -> list[sa.Column]:
    return [
        _column("sync_type", sa.Text(), "The sync, such as notes."),
        _column("table_name", sa.Text(), "The user's notes within the sync, such as pages:ann."),
        _column("record_key", sa.Text(), "The note's key, as text."),
    ]


def upgrade() -> None:
    _sync_credentials()
    _sync_note_ids()
    _sync_pages()


def _sync_credentials() -> None:
    op.create_table(
        "sync_credentials",
        _column("sync_type", sa.Text(), "The sync, such as notes."),
        _column("user_name", sa.Text(), "The user, who is a partition of the sync."),
        _column("config", JSONB(), "Where notes come from and where they go: nothing secret.", server_default=_NONE),
        _column("secrets", sa.LargeBinary(), "Tokens, encrypted with a key of SYNC_ENCRYPTION_KEYS."),
        _column("state", sa.LargeBinary(), "What the source's client last knew, encrypted likewise.", null=True),
        _column("created_at", _MOMENT, "When the user was added.", server_default=_NOW),
        _column("updated_at", _MOMENT, "When the user's config or secrets last changed.", server_default=_NOW),
        sa.PrimaryKeyConstraint("sync_type", "user_name", name="sync_credentials_pkey"),
        schema=migrations.schema_name(),
        comment="Users of a sync that reads and writes with each user's own accounts; one row each.",
    )


def _sync_note_ids() -> None:
    schema = migrations.schema_name()
    op.create_table(
        "sync_note_ids",
        *_record(),
        _column("created_usec", sa.BigInteger(), "When the note was made: microseconds since 1970, UTC."),
        _column("node_id", sa.Text(), "Its id in the account; null where only exports were read.", null=True),
        _column("signature", JSONB(), "Hashes that tell notes of one created time apart; no content."),
        _column("last_seen", _MOMENT, "When the source last had it.", server_default=_NOW),
        _column("gone_at", _MOMENT, "When the source was first found without it; null while it has it.", null=True),
        sa.PrimaryKeyConstraint("sync_type", "table_name", "record_key", name="sync_note_ids_pkey"),
        schema=schema,
        comment="Keys that were given to notes, so that each keeps its own in every later export or account.",
    )
    op.create_index(
        "sync_note_ids_node_idx",
        "sync_note_ids",
        ["sync_type", "table_name", "node_id"],
        unique=True,
        schema=schema,
        postgresql_where=sa.text("node_id IS NOT NULL"),
    )


def _sync_pages() -> None:
    schema = migrations.schema_name()
    op.create_table(
        "sync_pages",
        *_record(),
        _column("page_id", sa.Text(), "The page; null where its creation is doubtful.", null=True),
        _column("fingerprint", sa.Text(), "Of the note that the page was last made equal to.", null=True),
        _column("edited_time", _MOMENT, "The page's last_edited_time at our last look.", null=True),
        _column("seen_at", _MOMENT, "When the page's blocks were last read or written.", null=True),
        _column(
            "blocks",
            JSONB(),
            "The blocks that the sync made, as a tree of id, hash and children: no content.",
            server_default=sa.text("'[]'::jsonb"),
        ),
        _column("title_hash", sa.Text(), "Hash of the title that the sync wrote.", null=True),
        _column("property_hashes", JSONB(), "Property → hash of the value that the sync wrote.", server_default=_NONE),
        _column("note", sa.Text(), "What is to be known of the page, such as a file that was too large.", null=True),
        sa.PrimaryKeyConstraint("sync_type", "table_name", "record_key", name="sync_pages_pkey"),
        schema=schema,
        comment="What the sync made of each page: the base from which people's edits are told.",
    )
    op.create_index("sync_pages_page_idx", "sync_pages", ["sync_type", "table_name", "page_id"], schema=schema)
