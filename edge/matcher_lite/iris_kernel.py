"""The Hamming kernels: jointly trusted bits and differing bits, eight 64-bit words at a time.

numba has no vector population count, so one is asked of LLVM directly; it becomes VPOPCNTQ, NEON CNT or a table as
the machine allows. Everything else is plain numba.

A comparison looks at every fourth rotation, then at the neighbours of the best: a code's waves are so long that the
best of a coarse turn lies beside the best of all. Every accuracy that the room's README quotes was measured so.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from edge.matcher_lite import iris_parameters as p

Words = NDArray[np.uint64]

_declare: Any = cgutils.get_or_insert_function
_LANES = 8
_SHIFT = 1 << 20  # joint bits and differing bits travel in one integer
EXACT = -(1 << 20)
LIKELY = int(p.COARSE_Z**2)


def _counter() -> Any:
    """An intrinsic (codes_a, masks_a, i, codes_b, masks_b, j) → joint·2^20 + differing bits.

    Rows i and j of C-contiguous arrays (rows, CODE_WORDS) are compared.
    """

    def typed(typing_context: Any, codes_a: Any, masks_a: Any, i: Any, codes_b: Any, masks_b: Any, j: Any) -> Any:
        return types.int64(codes_a, masks_a, i, codes_b, masks_b, j), build

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        lanes = ir.VectorType(word, _LANES)
        count = _declare(builder.module, ir.FunctionType(lanes, (lanes,)), f"llvm.ctpop.v{_LANES}i64")
        total = _declare(builder.module, ir.FunctionType(word, (lanes,)), f"llvm.vector.reduce.add.v{_LANES}i64")

        def row(array_type: Any, value: Any, index: Any) -> Any:
            data = context.make_array(array_type)(context, builder, value).data
            return builder.gep(data, [builder.mul(index, ir.Constant(word, p.CODE_WORDS))])

        def vector(pointer: Any, at: int) -> Any:
            place = builder.bitcast(builder.gep(pointer, [ir.Constant(word, at)]), lanes.as_pointer())
            return builder.load(place, align=8)

        rows = [row(signature.args[k], arguments[k], arguments[2 if k < 2 else 5]) for k in (0, 1, 3, 4)]
        joint = differing = ir.Constant(lanes, [0] * _LANES)
        for at in range(0, p.CODE_WORDS, _LANES):
            code_a, mask_a, code_b, mask_b = (vector(pointer, at) for pointer in rows)
            both = builder.and_(mask_a, mask_b)
            joint = builder.add(joint, builder.call(count, [both]))
            unlike = builder.and_(builder.xor(code_a, code_b), both)
            differing = builder.add(differing, builder.call(count, [unlike]))
        packed = builder.add(builder.mul(joint, ir.Constant(lanes, [_SHIFT] * _LANES)), differing)
        return builder.call(total, [packed])

    return intrinsic(typed)


_joint_and_differing: Any = _counter()


@numba.njit(cache=True, nogil=True)
def best_rotation(
    codes: Words, masks: Words, references: Words, reference_masks: Words, j: int, joint_min: int, z_square: int
) -> tuple[int, int, int]:
    """(agreement, joint bits, rotation) of the rotation of `codes` most like row `j` of the references.

    agreement: agreeing minus differing bits. Likeness is agreement·|agreement| / joint, which orders rotations as the
    score does; products of integers decide, so that no rotation pays for a division, and without a branch, so that
    the processor never waits for a guess. Rotations of fewer than `joint_min` joint bits do not count; joint is 0
    where none is left, and where the coarse turn does not agree by √z_square roots of the joint bits (EXACT: any does).
    Few rotations, which turn coarsely by themselves, are all looked at.
    """
    rotations = codes.shape[0]
    step = p.COARSE_STEP if rotations > 2 * p.ROTATIONS else 1
    best_square, best_joint, best_packed, best_k = -(1 << 40), 1, 0, 0
    for k in range((rotations // 2) % step, rotations, step):
        packed: int = _joint_and_differing(codes, masks, k, references, reference_masks, j)
        joint = packed >> 20
        agreement = joint - 2 * (packed & (_SHIFT - 1))
        square = agreement * abs(agreement)
        better = (square * best_joint > best_square * joint) & (joint >= joint_min)
        best_square = square if better else best_square
        best_joint = joint if better else best_joint
        best_packed = packed if better else best_packed
        best_k = k if better else best_k
    if best_square < z_square * best_joint:
        return 0, 0, 0
    if step > 1 and best_packed:
        middle = best_k
        for k in range(max(middle - p.FINE_REACH, 0), min(middle + p.FINE_REACH + 1, rotations)):
            packed = _joint_and_differing(codes, masks, k, references, reference_masks, j)
            joint = packed >> 20
            agreement = joint - 2 * (packed & (_SHIFT - 1))
            square = agreement * abs(agreement)
            better = (square * best_joint > best_square * joint) & (joint >= joint_min)
            best_square = square if better else best_square
            best_joint = joint if better else best_joint
            best_packed = packed if better else best_packed
            best_k = k if better else best_k
    joint = best_packed >> 20
    return joint - 2 * (best_packed & (_SHIFT - 1)), joint, best_k


@numba.njit(cache=True, nogil=True)
def score_all(
    codes: Words, masks: Words, references: Words, reference_masks: Words, joint_min: int, z_square: int
) -> NDArray[np.float32]:
    """The normalised score of a probe's rotations against every reference: shape (references,), 0 without evidence.

    z_square: EXACT, or LIKELY to give up those that the coarse turn finds unlikely; they score 0.
    """
    out = np.zeros(len(references), dtype=np.float32)
    for j in range(len(references)):
        agreement, joint, _ = best_rotation(codes, masks, references, reference_masks, j, joint_min, z_square)
        if joint > 0:
            out[j] = 0.5 * agreement / np.sqrt(joint * p.JOINT_BITS_TYPICAL)
    return out
