"""Looks over CBOR (RFC 8949) from outside before a decoder builds objects from it.

A decoder turns one hostile megabyte into a gigabyte of empty lists, follows tags into dates, decimals and regular
expressions, and ignores bytes behind the value. This walk reads only the heads: it bounds the number of items and the
depth, lets only named tags pass, and wants definite lengths and no trailing bytes. What it passes is cheap to decode.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import cbor2

from contract.errors import RemoteError

_ARGUMENT_BYTES = {24: 1, 25: 2, 26: 4, 27: 8}
NESTING_MAX = 12
ITEMS_MAX = 100_000  # a full page of the register has some 30 000
_BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = 2, 3, 4, 5, 6, 7


def bound_items(encoded: bytes, *, items_max: int, nesting_max: int, tags: Collection[int] = ()) -> None:
    """Raise RemoteError unless `encoded` is one CBOR value of at most `items_max` items, `nesting_max` levels deep."""
    offset, items = 0, 0
    open_counts = [1]
    while open_counts:
        if open_counts[-1] == 0:
            open_counts.pop()
            continue
        open_counts[-1] -= 1
        items += 1
        if items > items_max:
            raise RemoteError(f"The message has more than {items_max} items.")
        major, argument, offset = _head(encoded, offset)
        if major in (_BYTES, _TEXT):
            offset += argument
            if offset > len(encoded):
                raise RemoteError("The message ends within a string.")
        elif major in (_ARRAY, _MAP, _TAG):
            if major == _TAG and argument not in tags:
                raise RemoteError("The message has a CBOR tag that does not belong there.")
            if len(open_counts) > nesting_max:
                raise RemoteError(f"The message is nested deeper than {nesting_max} levels.")
            if argument > items_max:
                raise RemoteError(f"The message has more than {items_max} items.")
            open_counts.append({_ARRAY: argument, _MAP: 2 * argument, _TAG: 1}[major])
    if offset != len(encoded):
        raise RemoteError(f"The message has {len(encoded) - offset} bytes behind its end.")


def loads_map(encoded: bytes, bytes_max: int) -> dict[str, Any]:
    """A CBOR map with text keys, bounded in length, items and depth, without tags. Raises RemoteError."""
    if len(encoded) > bytes_max:
        raise RemoteError(f"The message has {len(encoded)} bytes, more than {bytes_max}.")
    bound_items(encoded, items_max=ITEMS_MAX, nesting_max=NESTING_MAX)
    try:
        value = cbor2.loads(encoded)
    except Exception as error:  # noqa: BLE001 - text that is not UTF-8, maps as keys: the decoder raises what it likes
        raise RemoteError(f"The message is not CBOR ({type(error).__name__}).") from None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise RemoteError("The message is not a CBOR map with text keys.")
    return value


def _head(encoded: bytes, offset: int) -> tuple[int, int, int]:
    """Major type, argument and the offset behind the head of the item at `offset`."""
    if offset >= len(encoded):
        raise RemoteError("The message ends early.")
    major, info = encoded[offset] >> 5, encoded[offset] & 31
    offset += 1
    if info < 24:
        return major, info, offset
    width = _ARGUMENT_BYTES.get(info)
    if width is None:
        raise RemoteError("The message has an item of indefinite or reserved length.")
    if offset + width > len(encoded):
        raise RemoteError("The message ends early.")
    argument = int.from_bytes(encoded[offset : offset + width])
    return major, argument, offset + width
