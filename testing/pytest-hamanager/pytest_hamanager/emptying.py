"""Empties what a test finds: as the application could, by its own address."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pymongo
import pymysql
import redis

SECONDS = 10.0


def empty(engine: str, url: str) -> None:
    """Remove all tables, keys or collections of the application's database."""
    {"mysql": _mysql, "redis": _redis, "mongodb": _mongodb}[engine](url)


def _mysql(url: str) -> None:
    parts = urlsplit(url)
    ca = parse_qs(parts.query).get("ssl_ca")
    connection = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=parts.path.lstrip("/"),
        ssl_ca=ca[0] if ca else None,
        connect_timeout=SECONDS,
        read_timeout=SECONDS,
        write_timeout=SECONDS,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SET foreign_key_checks = 0")
        cursor.execute("SHOW FULL TABLES")
        for name, kind in cursor.fetchall():
            what = "VIEW" if kind == "VIEW" else "TABLE"
            quoted = str(name).replace("`", "``")
            cursor.execute(f"DROP {what} `{quoted}`")


def _redis(url: str) -> None:
    client = redis.Redis.from_url(url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS)
    with client:
        client.flushall()


def _mongodb(url: str) -> None:
    milliseconds = int(1000 * SECONDS)
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(
        url, serverSelectionTimeoutMS=milliseconds, socketTimeoutMS=milliseconds
    )
    with client:
        database = client.get_default_database()
        for name in database.list_collection_names():
            database.drop_collection(name)
