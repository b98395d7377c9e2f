"""A data directory as the tests of checks and backups look at it: its log, opened by sqlite3, and all that a rebuild makes of it."""
import os
import sqlite3

CACHES = ('job', 'place', 'cell', 'blob_use', 'mark', 'idem', 'reader')


def base_of(folder):
    return sqlite3.connect(os.path.join(folder, 'log.db'), isolation_level=None)


def caches(folder):
    """{table: rows, in an order of their own}"""
    base = base_of(folder)
    try:
        return {table: sorted(base.execute(f'SELECT * FROM {table}').fetchall(), key=repr) for table in CACHES}
    finally:
        base.close()
