"""History: labels, rollback and the state tree at growing sizes; the cost must not follow the size of the store."""

from __future__ import annotations

from benchmarks.common import BareRows, Figures, GivenVectors, folder, p50, texts, timed
from cmc_mcp.memory import Memory


def at_size(count: int, *, repeats: int = 30) -> Figures:
    """Measure labels and rollbacks of 100 changes in a store of `count` atoms."""
    given = GivenVectors()
    words = texts(count + 100 * 8, words=24)
    with folder() as place, Memory.open(place / "memory.db", embedder=given) as memory:
        bare = BareRows(place / "bare.db")
        build = timed(lambda: memory.remember_many([{"content": text} for text in words[:count]]))  # type: ignore[arg-type]
        vector = given.embed(["x"])[0].tobytes()
        label, row, back = [], [], []
        for number in range(repeats):
            row.append(timed(lambda: bare.write([(f"one row {number}", vector)])))
            label.append(timed(lambda: memory.snapshot(f"label {number}")))
        rest = words[count:]
        for number in range(8):
            before = memory.snapshot().transaction
            part = rest[100 * number : 100 * number + 100]
            memory.remember_many([{"content": text} for text in part])  # type: ignore[arg-type]
            back.append(timed(lambda: memory.rollback(before)))
        bare.close()
    return {
        "build, µs an atom": build / count * 1000,
        "one-row commit p50 ms": p50(row),
        "label p50 ms": p50(label),
        "label / one-row commit (≤ 5)": p50(label) / p50(row),
        "rollback of 100 changes p50 ms (≤ 10)": p50(back),
    }


def history(sizes: tuple[int, ...] = (10_000, 100_000)) -> Figures:
    """Compare the sizes: the last against the first must stay flat."""
    found = {size: at_size(size) for size in sizes}
    out = {f"{size:,}: {name}": value for size, figures in found.items() for name, value in figures.items()}
    first, last = found[sizes[0]], found[sizes[-1]]
    for name in ("label p50 ms", "rollback of 100 changes p50 ms (≤ 10)"):
        out[f"{name.split(' p50')[0]}, {sizes[-1]:,} / {sizes[0]:,} (≤ 1.5)"] = last[name] / first[name]
    return out


def tree(count: int) -> Figures:
    """Maintain the state tree in the real table: one leaf, and a thousand, in a tree of `count` leaves."""
    import os

    from cmc_mcp.merkle import state

    with folder() as place:
        bare = BareRows(place / "tree.db")
        db = bare.connection
        db.execute("CREATE TABLE nodes(node INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT")
        _, nodes = state.build((os.urandom(16), os.urandom(32)) for _ in range(count))
        db.execute("BEGIN")
        db.executemany("INSERT INTO nodes VALUES(?, ?)", nodes.items())
        db.execute("COMMIT")
        del nodes

        def get(path: int) -> bytes | None:
            row = db.execute("SELECT body FROM nodes WHERE node = ?", (path,)).fetchone()
            return None if row is None else row[0]

        def update(leaves: int) -> None:
            _, dirty = state.update(get, {os.urandom(16): os.urandom(32) for _ in range(leaves)})
            db.executemany("INSERT OR REPLACE INTO nodes VALUES(?, ?)", [(n, b) for n, b in dirty.items() if b])
            db.executemany("DELETE FROM nodes WHERE node = ?", [(n,) for n, b in dirty.items() if b is None])

        db.execute("BEGIN")
        one = [timed(lambda: update(1)) for _ in range(200)]
        many = [timed(lambda: update(1_000)) / 1_000 for _ in range(5)]
        db.execute("COMMIT")
        bare.close()
    return {
        f"{count:,} leaves: one leaf, ms (≤ 0.1)": p50(one),
        f"{count:,} leaves: in batches of 1,000, ms a leaf": p50(many),
    }
