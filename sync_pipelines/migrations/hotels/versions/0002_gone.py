"""Whether Cupid had a hotel not when it last answered: a failure after a 404 says nothing of that."""

from sync_pipelines import migrations
from sync_pipelines.engine.sql import qualified

revision = "hotels_0002"
down_revision = "hotels_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    checks = qualified(migrations.schema_name(), "property_checks")
    migrations.execute(f"ALTER TABLE {checks} ADD COLUMN gone boolean NOT NULL DEFAULT false")
    migrations.execute(
        f"COMMENT ON COLUMN {checks}.gone IS 'Its last answer was that there is none (404); a failure leaves it so.'"
    )
    migrations.execute(f"UPDATE {checks} SET gone = true WHERE status = 'absent'")
