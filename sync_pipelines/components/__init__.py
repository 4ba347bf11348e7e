"""The kinds of sync: a YAML document's attributes become assets, checks, partitions, schedules and a sensor."""
