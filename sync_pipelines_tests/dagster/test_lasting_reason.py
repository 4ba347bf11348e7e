"""A full read for a reason that no run ends is not asked for again at once."""

from __future__ import annotations

from sync_pipelines_tests.dagster.project import article
from sync_pipelines_tests.dagster.world import World

LEAF = "CREATE TABLE leaf_{0} PARTITION OF parted FOR VALUES FROM ({0}00) TO ({1}00)"


def test_a_partition_without_triggers_is_read_once_and_then_once_an_hour(world: World):
    world.execute("""CREATE TABLE parted (id int PRIMARY KEY, title jsonb, body text, stock integer,
        "updatedAt" timestamp(3) NOT NULL DEFAULT now()) PARTITION BY RANGE (id)""")
    world.execute(LEAF.format(0, 1))
    source = {"connection": "shop", "table": "parted", "key": ["id"], "changed_at": "updatedAt"}
    world.component = article(source=source)
    world.install()
    world.execute("INSERT INTO parted (id, body) VALUES (1, 'one')")
    world.sync()
    world.execute(LEAF.format(1, 2))
    world.execute("INSERT INTO leaf_1 (id, body) VALUES (101, 'two')")
    assert len(world.sensor_tick().run_requests) == 1
    world.sync()
    assert set(world.stored()) == {"1", "101"}
    tick = world.sensor_tick()
    assert not tick.run_requests
    assert '"leaf_1" lacks capture triggers, which no run ends' in tick.skip_message
    (warning,) = world.component.build_source(world.resources).capture_warnings()
    assert "sync-pipelines capture install shop/parted" in warning
    world.install()
    assert len(world.sensor_tick().run_requests) == 1
    world.sync()
    assert world.sensor_tick().skip_message == "nothing pending"
