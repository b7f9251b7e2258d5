"""The learnt quality model: one LiteRT interpreter a process, loaded when the first finger is judged.

`make quality-model` learns and writes the file; QUALITY_MODEL_CARD.md says from what and how well. ai-edge-litert runs
it, or tflite-runtime where only that is installed. Where neither is (a processor without wheels), the classical grade
stands and a warning says so once: a desk goes on.
"""

from __future__ import annotations

import threading
import warnings
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from edge.matcher_lite import finger_parameters as p
from edge.matcher_lite.finger_quality import FingerAdvice, FingerQuality
from edge.matcher_lite.finger_quality_evidence import Stages, evidence

MODEL_FILE = Path(__file__).with_name("finger_quality.tflite")
RUNTIMES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")

Plane = NDArray[np.float32]


# What the model's outputs after the first believe in, in their order. A dirty sensor and an earlier finger's grease ask
# for the same: clean finger and glass.
FAULTS = (
    FingerAdvice.TOO_DRY,
    FingerAdvice.TOO_WET,
    FingerAdvice.TOO_LITTLE,
    FingerAdvice.SMEARED,
    FingerAdvice.MOVED,
    FingerAdvice.UNCLEAR,
    FingerAdvice.UNCLEAR,
)


class QualityModel:
    """The int8 model in an interpreter; one call at a time."""

    def __init__(self, octets: bytes, runtime: ModuleType) -> None:
        # Without the delegate that compiles for the processor: it takes memory and gains nothing on so small a net.
        plain = runtime.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self._interpreter = runtime.Interpreter(
            model_content=octets, num_threads=1, experimental_op_resolver_type=plain
        )
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]
        self._turn = threading.Lock()

    def __call__(self, measures: Plane) -> Plane:
        """Outputs, 0..1, of measures (n,) in 0..1: expected comparison first, then the belief in each of FAULTS."""
        scale, zero = self._input["quantization"]
        levels = np.clip(np.rint(measures / scale) + zero, -128, 127).astype(np.int8)
        with self._turn:
            self._interpreter.set_tensor(self._input["index"], levels[None])
            self._interpreter.invoke()
            answer = self._interpreter.get_tensor(self._output["index"])[0]
        scale, zero = self._output["quantization"]
        return np.asarray((answer.astype(np.float32) - zero) * scale, np.float32)


def grade(classical: FingerQuality, stages: Stages) -> FingerQuality:
    """The learnt quality of a usable finger; `classical` where there is none, or no runtime for the model.

    Quality q: with a good print of the same finger a comparison scores 1.2 q on average, counting no more than 120.
    """
    model = shipped_model() if classical.value > 0 else None
    if model is None:
        return classical
    return graded(model(evidence(stages)))


def graded(outputs: Plane) -> FingerQuality:
    """Value and advice of the model's outputs: faults that it believes in, surest first, unless the print is good."""
    value = max(round(100.0 * float(outputs[0])), 1)
    if value >= p.ADVISED_QUALITY:
        return FingerQuality(value, ())
    order = np.argsort(-outputs[1:], kind="stable")
    found = dict.fromkeys(FAULTS[index] for index in order if outputs[1 + index] >= p.FAULT_BELIEF_MIN)
    if not found and value < p.GOOD_QUALITY:
        return FingerQuality(value, (FingerAdvice.UNCLEAR,))
    return FingerQuality(value, tuple(found))


@lru_cache(maxsize=1)
def shipped_model() -> QualityModel | None:
    """The model that ships, in this process's one interpreter; None, with a warning, where no runtime is installed."""
    for name in RUNTIMES:
        try:
            return QualityModel(MODEL_FILE.read_bytes(), import_module(name))
        except ImportError:
            continue
    warnings.warn(
        "Finger quality is graded by classical features only: install ai-edge-litert (or tflite-runtime).",
        RuntimeWarning,
        stacklevel=2,
    )
    return None
