"""The image digest: one number for all bytes and names of a protected set.

``D = sum over files K(path) * (S(size) + sum over blocks h(b, bytes))  mod 2**128`` with
``h = xxh3_128(block, seed = block number)``, a block of zeros counting 0; ``K`` (made odd)
and ``S`` are keyed xxh3_128.  Directories, symbolic links and attributes are one term
each.  A block is 8 KiB, its missing end counting as zeros, so two images have one digest
exactly when they show the same bytes under the same names (DESIGN section 6).

Because D is a sum, a write changes it by one block's term and a rename by one file's:
:class:`ImageDigest` keeps the hashes of unchanged blocks and takes anew only those that an
:class:`~simulator.inode.Inode` marks as touched, at any size of the store.
"""

from __future__ import annotations

from functools import lru_cache

import xxhash

from replicator.operation import encode_path
from simulator.blocks import BLOCK_BYTES, ZERO_BLOCK
from simulator.disk import Disk
from simulator.inode import Inode
from simulator.namespace import Directory, Node, Symlink

MASK = (1 << 128) - 1

_h = xxhash.xxh3_128_intdigest


def block_hash(number: int, block: bytes | None) -> int:
    """h(b, bytes); 0 for a block that reads as zeros."""
    if not block:
        return 0
    if len(block) < BLOCK_BYTES:
        block = block + bytes(BLOCK_BYTES - len(block))
    return 0 if block == ZERO_BLOCK else _h(block, number)


@lru_cache(maxsize=65536)
def path_key(path: str) -> int:
    """K(path), odd so that it can be divided by."""
    return _h(encode_path(path), 0x4B) | 1


@lru_cache(maxsize=4096)
def size_term(size_bytes: int) -> int:
    """S(size)."""
    return _h(size_bytes.to_bytes(8, "little"), 0x53)


def attribute_term(path: str, attributes: int) -> int:
    """One term for the attribute bits of a name; nothing when there are none."""
    return _h(b"%d\0" % attributes + encode_path(path), 0x41) if attributes else 0


def entry_term(path: str, node: Node) -> int:
    """The term of a directory or symbolic link."""
    if isinstance(node, Symlink):
        return _h(encode_path(node.target) + b"\0" + encode_path(path), 0x4C)
    return path_key(path + "/")


def refresh(inode: Inode) -> int:
    """Take the touched blocks' hashes anew; returns the sum of all block hashes."""
    blocks, touched = inode.blocks, inode.touched
    if touched:
        hashes, total = inode.hashes, inode.hash_sum
        for number in touched:
            block = blocks.get(number)
            if block and len(block) == BLOCK_BYTES and block != ZERO_BLOCK:
                new = _h(block, number)
            else:
                new = block_hash(number, block)
            old = hashes.get(number, 0)
            if new != old:
                total += new - old
                hashes[number] = new
        inode.hash_sum = total & MASK
        touched.clear()
    return inode.hash_sum


def file_term(inode: Inode) -> int:
    """S(size) + sum over blocks, to be multiplied by K(path)."""
    return size_term(inode.size) + refresh(inode)


def image_digest(disk: Disk, root: str, terms: dict[int, tuple[int, int]] | None = None) -> int:
    """D of everything below ``root``, by paths relative to it.

    Costs one step for each name and one hash for each block touched since the last call.

    Arguments
    ---------
    terms: is filled with the parts of the sum: inode number to the file's term, and the sum of
        the keys of its names.
    """
    total = 0
    prefix = len(root.rstrip("/"))
    for path, node in disk.names.walk(root):
        name = path[prefix:]
        if isinstance(node, Inode):
            key, term = path_key(name), file_term(node)
            total += key * term
            if node.attributes:
                total += attribute_term(name, node.attributes)
            if terms is not None:
                earlier = terms.get(node.number)
                terms[node.number] = term, key if earlier is None else key + earlier[1]
        else:
            total += entry_term(name, node)
            if isinstance(node, Directory):
                total += attribute_term(name, node.attributes)
    return total & MASK
