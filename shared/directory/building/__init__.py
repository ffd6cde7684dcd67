"""From the rows of a bucket to its parts: join, compare with the last snapshot, render, write.

Two stages. Members' buckets hold users and the edges that lead to them, so that a user's groups, and whether
an edge dangles, are known without a second look. Groups' buckets follow, since a group counts its published
edges. Both do the same with the same input: a bucket that is built twice is the same bytes.

A bucket is worked off segment by segment, some thirty objects at a time, which stay in the processor's cache
from their decoding to their compression. A full run (`full`) makes all segments from what was read. An
incremental run (`incremental`) changes single lines (`patch`) and edges (`edges`), and copies the rest as it
is stored.
"""

from shared.directory.building.builder import Builder

__all__ = ["Builder"]
