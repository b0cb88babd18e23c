#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Merges the flight recorder's files of all ranks and says who diverged first.

  scripts/flight_report.py FOLDER          # what RINGLEADER_FLIGHT_DIR was set to
  scripts/flight_report.py FOLDER --all    # every operation of every rank as well

Operations are matched across ranks by process set, name and how often the name was used before. The
layout is that of core/runtime/flight_recorder.h.
"""

import argparse
import struct
import sys
from collections import Counter, defaultdict
from pathlib import Path

HEADER = struct.Struct("<8sIIIIq4q512s")
RECORD = struct.Struct("<Qqqqqqq Ii BB30s64s".replace(" ", ""))
CODES = ["ok", "invalid_argument", "not_initialized", "duplicate_name", "mismatch", "joined",
         "shutdown", "rank_lost", "stalled", "transport", "bad_message", "unsupported", "no_memory"]


def text(raw):
    return raw.split(b"\0")[0].decode(errors="replace")


class Operation:
    """One operation of one rank."""

    def __init__(self, rank, fields, time_of):
        (self.sequence, submitted, decided, launched, completed, self.bytes,
         self.step, self.process_set, self.line, self.op, self.code, file, name) = fields
        self.submitted = time_of(submitted)
        self.decided = time_of(decided)
        self.launched = time_of(launched)
        self.completed = time_of(completed)
        self.rank = rank
        self.name = text(name)
        self.file = text(file)
        self.key = (self.process_set, self.name, 0)

    @property
    def state(self):
        if self.completed:
            return "done" if self.code == 0 else CODES[min(self.code, len(CODES) - 1)]
        return "running" if self.launched else "waiting for others"

    def __str__(self):
        where = f" ({self.file}:{self.line})" if self.line else ""
        step = f", step {self.step}" if self.step >= 0 else ""
        return f"'{self.name}'{where}{step}, {self.bytes} bytes"


class Unreadable(Exception):
    """A file that says nothing."""


class Rank:
    """One rank's file."""

    def __init__(self, path):
        raw = path.read_bytes()
        if len(raw) < HEADER.size:
            raise Unreadable(f"{path}: only {len(raw)} bytes, the rank was ended while it wrote")
        magic, self.rank, self.size, record_bytes, count, offset, ticks0, ns0, ticks1, \
            ns1, reason = HEADER.unpack_from(raw)
        if magic != b"RLFLIGH2" or record_bytes < RECORD.size:
            raise Unreadable(f"{path}: not a flight recorder's file of this version")
        self.reason = text(reason)
        rate = (ns1 - ns0) / max(ticks1 - ticks0, 1)

        def time_of(ticks):
            """Nanoseconds since 1970, 0 if it has not come to that."""
            return round(offset + ns0 + (ticks - ticks0) * rate) if ticks else 0
        # A rank that was ended while it wrote leaves a part.
        count = min(count, (len(raw) - HEADER.size) // record_bytes)
        records = [RECORD.unpack_from(raw, HEADER.size + i * record_bytes) for i in range(count)]
        records = sorted(record for record in records if record[0] > 0)
        self.first = records[0][0] if records else 1
        self.operations = []
        uses = Counter()
        for record in records:
            operation = Operation(self.rank, record, time_of)
            uses[operation.key[:2]] += 1
            self.operations.append(operation)
        # Counted from the end where old records are gone, so that ranks still match.
        seen = Counter()
        for operation in self.operations:
            name = operation.key[:2]
            seen[name] += 1
            operation.key = (*name, seen[name] if self.first == 1 else seen[name] - uses[name])


def ranks_text(ranks):
    return ("rank " if len(ranks) == 1 else "ranks ") + ", ".join(map(str, sorted(ranks)))


def divergence(ranks):
    """Lines about the operations that some ranks have not ended while others lack them."""
    by_key = defaultdict(dict)
    for rank in ranks:
        for operation in rank.operations:
            by_key[operation.key][rank.rank] = operation
    open_keys = [key for key, found in by_key.items()
                 if any(not operation.completed or operation.code for operation in found.values())]
    open_keys.sort(key=lambda key: min(o.submitted for o in by_key[key].values()))
    known = {rank.rank for rank in ranks}
    for key in open_keys:
        found = by_key[key]
        missing = known - set(found)
        if missing:
            first = min(found.values(), key=lambda operation: operation.submitted)
            verb = "has" if len(missing) == 1 else "have"
            yield (f"{ranks_text(missing)} {verb} not submitted {first}; "
                   f"{ranks_text(set(found))}: {first.state}")
    for key in open_keys:
        states = defaultdict(list)
        for rank, operation in by_key[key].items():
            states[operation.state].append(rank)
        if len(states) > 1 and len(by_key[key]) == len(known):
            parts = "; ".join(f"{ranks_text(who)}: {state}" for state, who in states.items())
            yield f"{next(iter(by_key[key].values()))}: {parts}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true", help="every operation of every rank")
    options = parser.parse_args()
    ranks = []
    for path in sorted(options.folder.glob("flight.*.bin")):
        try:
            ranks.append(Rank(path))
        except (Unreadable, OSError) as error:
            print(error, file=sys.stderr)
    ranks.sort(key=lambda rank: rank.rank)
    if not ranks:
        sys.exit(f"{options.folder}: no files of the flight recorder")
    size = ranks[0].size
    absent = set(range(size)) - {rank.rank for rank in ranks}
    print(f"{len(ranks)} of {size} ranks left a file"
          + (f"; {ranks_text(absent)} left none" if absent else ""))
    for rank in ranks:
        last = rank.operations[-1] if rank.operations else None
        print(f"  rank {rank.rank}: {rank.operations[-1].sequence if last else 0} operations, "
              f"last {last} ({last.state if last else ''}); written: {rank.reason.splitlines()[0] if rank.reason else '-'}")
    lines = list(divergence(ranks))
    print("first divergence: " + (lines[0] if lines else "none in what was recorded"))
    for line in lines[1:10]:
        print(f"  then: {line}")
    if options.all:
        for rank in ranks:
            for o in rank.operations:
                times = [(t - o.submitted) / 1e3 if t else float("nan")
                         for t in (o.decided, o.launched, o.completed)]
                print(f"rank {rank.rank} #{o.sequence} {o}: decided {times[0]:.1f}, launched "
                      f"{times[1]:.1f}, completed {times[2]:.1f} us after; {o.state}")


if __name__ == "__main__":
    main()
