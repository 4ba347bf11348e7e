"""The tables of an academy: what can be learned, in which order, by which path, and by whom."""

CONCEPTS, PATHS, LEARNERS = "concept", "learning_path", "learner"
PREREQUISITES, STEPS, PROGRESS = "concept_prerequisite", "path_concept", "progress"

# Parents before their children. No foreign key has ON DELETE CASCADE but those of what is meaningless alone.
TABLES = {
    CONCEPTS: """
        CREATE TABLE IF NOT EXISTS concept (
            id text PRIMARY KEY,
            title text NOT NULL,
            summary text,
            field text NOT NULL,
            difficulty integer NOT NULL CHECK (difficulty BETWEEN 1 AND 5),
            hours double precision,
            tags text[],
            updated_at timestamptz NOT NULL DEFAULT now()
        )""",
    PATHS: """
        CREATE TABLE IF NOT EXISTS learning_path (
            id text PRIMARY KEY,
            title text NOT NULL,
            goal text,
            level text NOT NULL,
            updated_at timestamptz NOT NULL DEFAULT now()
        )""",
    LEARNERS: """
        CREATE TABLE IF NOT EXISTS learner (
            id uuid PRIMARY KEY,
            name text NOT NULL,
            joined_on date NOT NULL DEFAULT current_date,
            updated_at timestamptz NOT NULL DEFAULT now()
        )""",
    PREREQUISITES: """
        CREATE TABLE IF NOT EXISTS concept_prerequisite (
            concept_id text NOT NULL REFERENCES concept (id) ON DELETE CASCADE,
            requires_id text NOT NULL REFERENCES concept (id) ON DELETE CASCADE,
            strength double precision,
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (concept_id, requires_id)
        );
        CREATE INDEX IF NOT EXISTS concept_prerequisite_requires_id_idx ON concept_prerequisite (requires_id)""",
    STEPS: """
        CREATE TABLE IF NOT EXISTS path_concept (
            path_id text NOT NULL REFERENCES learning_path (id) ON DELETE CASCADE,
            concept_id text NOT NULL REFERENCES concept (id) ON DELETE CASCADE,
            position integer NOT NULL,
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (path_id, concept_id)
        );
        CREATE INDEX IF NOT EXISTS path_concept_concept_id_idx ON path_concept (concept_id)""",
    PROGRESS: """
        CREATE TABLE IF NOT EXISTS progress (
            learner_id uuid NOT NULL REFERENCES learner (id) ON DELETE CASCADE,
            concept_id text NOT NULL REFERENCES concept (id) ON DELETE CASCADE,
            mastery double precision NOT NULL CHECK (mastery BETWEEN 0 AND 1),
            studied_at timestamptz,
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (learner_id, concept_id)
        );
        CREATE INDEX IF NOT EXISTS progress_concept_id_idx ON progress (concept_id)""",
}

FILE = "academy.json"
"""The sample rows, by table."""
