"""Learns the finger quality model from synthetic samples and writes it as an int8 LiteRT file.

Runs in a virtual environment of its own, with TensorFlow and numpy only (`make quality-model`); nothing that ships
imports it. Input: the measures of `finger_quality_evidence`, 0..1. Output: expected comparison, then one belief for
each degradation, 0..1. Seeds, one thread and deterministic kernels make the same file of the same samples.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

VALUE_FULL: Final = 120.0
"""−10·log10 FMR at which a comparison counts in full."""
SEVERITY_SURE: Final = 0.45
"""A spoilt print counts as an example of its kind from here; below, of nothing."""
HIDDEN: Final = (48, 24)
EPOCHS: Final = 60
BATCH: Final = 128
SEED: Final = 7


def targets(values: Array, kind: NDArray[np.uint8], severity: Array, kinds: int) -> tuple[Array, Array]:
    """Wanted outputs (n, kinds) and their weights: column 0 the mean likeness to the finger, the rest the kind."""
    wanted = np.zeros((len(kind), kinds), np.float32)
    wanted[np.arange(len(kind)), kind] = 1.0
    wanted[:, 0] = np.clip(values, 0.0, VALUE_FULL).mean(1) / VALUE_FULL
    weight = np.ones_like(wanted)
    weight[:, 1:] = ((kind == 0) | (severity >= SEVERITY_SURE))[:, None]
    return wanted, weight


def train(evidence: Array, wanted: Array, weight: Array) -> Any:
    """A small dense network; the same weights for the same samples."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    layers = [tf.keras.Input((evidence.shape[1],))]
    layers += [tf.keras.layers.Dense(width, "relu") for width in HIDDEN]
    model = tf.keras.Sequential([*layers, tf.keras.layers.Dense(wanted.shape[1], "sigmoid")])
    importance = tf.constant([4.0] + [1.0] * (wanted.shape[1] - 1))

    def loss(truth: Any, guess: Any) -> Any:
        """Cross entropy of soft targets; the kind is left out where it is not sure."""
        aim, mass = truth[:, : wanted.shape[1]], truth[:, wanted.shape[1] :]
        guess = tf.clip_by_value(guess, 1e-6, 1 - 1e-6)
        entropy = -(aim * tf.math.log(guess) + (1 - aim) * tf.math.log(1 - guess))
        return tf.reduce_mean(entropy * mass * importance)

    steps = EPOCHS * (len(evidence) // BATCH + 1)
    rate = tf.keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(tf.keras.optimizers.AdamW(rate, weight_decay=1e-3), loss)
    model.fit(evidence, np.hstack([wanted, weight]), batch_size=BATCH, epochs=EPOCHS, verbose=0)
    return model


def convert(model: Any, evidence: Array) -> bytes:
    """The model with 8-bit weights, input and output; ranges are those of the samples."""
    import tensorflow as tf

    fixed = tf.keras.Sequential([tf.keras.Input(batch_shape=(1, evidence.shape[1])), *model.layers])
    converter = tf.lite.TFLiteConverter.from_keras_model(fixed)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row[None]] for row in evidence[:: max(len(evidence) // 1000, 1)])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def main() -> None:
    """Command line: samples in, model out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("samples", type=Path)
    parser.add_argument("out", type=Path)
    chosen = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with np.load(chosen.samples) as stored:
        held = {name: stored[name] for name in stored.files}
    wanted, weight = targets(held["values"], held["kind"], held["severity"], len(held["kinds"]))
    evidence = held["evidence"]
    chosen.out.write_bytes(convert(train(evidence, wanted, weight), evidence))
    sys.stdout.write(f"{chosen.out}: {chosen.out.stat().st_size} bytes, learnt from {len(evidence)} prints\n")


if __name__ == "__main__":
    main()
