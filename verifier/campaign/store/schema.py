"""The store's tables, and how a file of an older schema becomes one of this schema."""

from __future__ import annotations

import sqlite3

from encoders.errors import InputError

APPLICATION = 0x52654C55
"""What SQLite's application_id says in our files: "ReLU"."""

MIGRATIONS = (
    # 1
    """
    CREATE TABLE plans (sha256 TEXT PRIMARY KEY, text TEXT NOT NULL, created REAL NOT NULL);
    CREATE TABLE models (sha256 TEXT PRIMARY KEY, path TEXT NOT NULL);
    CREATE TABLE inputs (sha256 TEXT PRIMARY KEY, dtype TEXT NOT NULL, shape TEXT NOT NULL, data BLOB NOT NULL);
    CREATE TABLE boxes (sha256 TEXT PRIMARY KEY, lo BLOB NOT NULL, hi BLOB NOT NULL);
    CREATE TABLE tasks (
        id TEXT PRIMARY KEY,
        model TEXT NOT NULL REFERENCES models, input TEXT NOT NULL REFERENCES inputs,
        box TEXT NOT NULL REFERENCES boxes,
        label INTEGER NOT NULL, norm TEXT NOT NULL, margin REAL NOT NULL, precision REAL NOT NULL,
        method TEXT NOT NULL, solver TEXT, source TEXT NOT NULL, source_index INTEGER NOT NULL
    );
    CREATE TABLE instances (
        id TEXT PRIMARY KEY, task TEXT NOT NULL REFERENCES tasks, target INTEGER,
        status TEXT NOT NULL DEFAULT 'pending', lower REAL NOT NULL DEFAULT 0, upper REAL NOT NULL DEFAULT 9e999,
        evidence TEXT NOT NULL DEFAULT '', attack TEXT NOT NULL DEFAULT '', initial REAL NOT NULL DEFAULT 9e999,
        witness BLOB, witness_facts TEXT, search TEXT, reason TEXT NOT NULL DEFAULT '',
        seconds REAL NOT NULL DEFAULT 0, earlier REAL NOT NULL DEFAULT 0, tried REAL NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0, updated REAL NOT NULL DEFAULT 0
    );
    CREATE INDEX instances_of_task ON instances (task);
    CREATE TABLE members (
        plan TEXT NOT NULL REFERENCES plans, instance TEXT NOT NULL REFERENCES instances, place INTEGER NOT NULL,
        PRIMARY KEY (plan, instance)
    ) WITHOUT ROWID;
    CREATE TABLE leases (task TEXT PRIMARY KEY REFERENCES tasks, owner TEXT NOT NULL, expires REAL NOT NULL);
    """,
    # 2: how each bracket closed, and how often its worker was lost
    """
    CREATE TABLE history (
        instance TEXT NOT NULL REFERENCES instances, attempt INTEGER NOT NULL, seconds REAL NOT NULL,
        lower REAL NOT NULL, upper REAL NOT NULL, PRIMARY KEY (instance, attempt, seconds)
    ) WITHOUT ROWID;
    ALTER TABLE instances ADD COLUMN losses INTEGER NOT NULL DEFAULT 0;
    """,
    # 3: where the certificate of the lower end is
    """
    ALTER TABLE instances ADD COLUMN certificate TEXT NOT NULL DEFAULT '';
    """,
    # 4: which attacks a plan measures, and what they and their restarts found
    """
    CREATE TABLE audits (
        plan TEXT NOT NULL REFERENCES plans, kind TEXT NOT NULL, attack TEXT NOT NULL, PRIMARY KEY (plan, kind, attack)
    ) WITHOUT ROWID;
    CREATE TABLE findings (
        instance TEXT NOT NULL REFERENCES instances, kind TEXT NOT NULL, attack TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'open', distance REAL NOT NULL DEFAULT 9e999, witness BLOB, witness_facts TEXT,
        facts TEXT NOT NULL DEFAULT '{}', seconds REAL NOT NULL DEFAULT 0,
        reason TEXT NOT NULL DEFAULT '', losses INTEGER NOT NULL DEFAULT 0, updated REAL NOT NULL DEFAULT 0,
        PRIMARY KEY (instance, kind, attack)
    );
    ALTER TABLE leases ADD COLUMN kind TEXT NOT NULL DEFAULT '';
    ALTER TABLE leases ADD COLUMN attack TEXT NOT NULL DEFAULT '';
    """,
    # 5: the lower end of every float32 evaluation; questions under transformations of the input
    """
    ALTER TABLE instances ADD COLUMN float32 REAL;
    CREATE TABLE transforms (sha256 TEXT PRIMARY KEY, source TEXT NOT NULL, names TEXT NOT NULL, maps BLOB NOT NULL);
    ALTER TABLE tasks ADD COLUMN transforms TEXT REFERENCES transforms;
    """,
    # 6: the file of an input that has one of its own
    """
    ALTER TABLE tasks ADD COLUMN name TEXT NOT NULL DEFAULT '';
    """,
    # 7: who works on what since when; the runs of campaigns, and how they ended
    """
    ALTER TABLE leases ADD COLUMN since REAL NOT NULL DEFAULT 0;
    ALTER TABLE leases ADD COLUMN worker TEXT NOT NULL DEFAULT '';
    CREATE TABLE runs (
        owner TEXT PRIMARY KEY, plan TEXT NOT NULL REFERENCES plans, began REAL NOT NULL, until REAL NOT NULL,
        seen REAL NOT NULL, most REAL NOT NULL, done_before INTEGER NOT NULL, ended REAL,
        how TEXT NOT NULL DEFAULT '', why TEXT NOT NULL DEFAULT ''
    );
    """,
    # 8: which of a model's several outputs is asked about
    """
    ALTER TABLE tasks ADD COLUMN output TEXT;
    """,
    # 9: points that other tools have found
    """
    CREATE TABLE points (
        instance TEXT NOT NULL REFERENCES instances, attack TEXT NOT NULL, dtype TEXT NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (instance, attack)
    );
    """,
    # 10: split trees of searches, with which those about a retrained model begin
    """
    CREATE TABLE trees (
        instance TEXT NOT NULL REFERENCES instances, goal INTEGER NOT NULL, lower REAL NOT NULL, tree BLOB NOT NULL,
        PRIMARY KEY (instance, goal)
    );
    """,
    # 11: questions about the inputs that can occur
    """
    CREATE TABLE lattices (sha256 TEXT PRIMARY KEY, told TEXT NOT NULL, columns TEXT NOT NULL, units BLOB);
    ALTER TABLE tasks ADD COLUMN lattice TEXT REFERENCES lattices;
    """,
)
"""Script k makes schema k out of schema k − 1. `tried` is the largest time limit that was used up; `earlier` the
seconds of attempts before the last one; infinity is SQLite's 9e999."""

SCHEMA = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection, name: str) -> None:
    """Bring an empty or older file to this schema, in one transaction; the caller's connection commits by itself.

    Raises InputError for a file of a newer schema or of another program.
    """
    if version(connection, name) == SCHEMA:
        return
    connection.execute("BEGIN IMMEDIATE")  # another campaign may be doing the same: look again under the lock
    try:
        for script in MIGRATIONS[version(connection, name) :]:
            for statement in script.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def version(connection: sqlite3.Connection, name: str) -> int:
    """The schema of a file, 0 for an empty one. Raises InputError as `migrate` does."""
    alone = not connection.in_transaction
    if alone:
        connection.execute("BEGIN")  # one view of the file: another campaign may just be making it
    try:
        application, found = (int(connection.execute(f"PRAGMA {key}").fetchone()[0]) for key in PRAGMAS)
        empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    finally:
        if alone:
            connection.execute("ROLLBACK")
    if application != APPLICATION and not (empty and application == found == 0):
        raise InputError(f"{name} is a database of another program: name another --store")
    if found > SCHEMA:
        raise InputError(f"{name} has schema {found}; this version of verifier knows {SCHEMA}: update verifier")
    return found


PRAGMAS = ("application_id", "user_version")
