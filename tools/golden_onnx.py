#!/usr/bin/env python3
"""Tiny ONNX models and what onnxruntime computes with them, for the test of harmonica-eval's feature `onnx`.

usage: golden_onnx.py crates/harmonica-eval/tests/golden/onnx
Writes embedder-wave.onnx ([1, n] samples -> 8 numbers), embedder-frames.onnx ([1, frames, 80] log-mel frames -> 6 numbers; the
frames are those of kaldi_native_fbank), score-wave.onnx ([1, n] -> one number), scores-fixed.onnx ([1, 48000] -> 3 numbers, as
DNSMOS: a fixed length), image.onnx (an input that no speech fits), growing.onnx (an output for each sample), crest.onnx (the peak
over the mean magnitude: of silence it is no number), and golden.json. The sound follows a formula.
needs: pip install numpy onnx onnxruntime kaldi-native-fbank
"""
import json
import os
import sys

import kaldi_native_fbank
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

RATE, N_BANDS, FIXED = 16000, 80, 48000


def sound(pitch_hz, seconds):
    t = np.arange(int(seconds * RATE)) / RATE
    wave = 0.05 * sum(np.sin(2 * np.pi * pitch_hz * k * t + k) / k for k in range(1, 30)) * (1 + 0.5 * np.sin(9 * t))
    return wave.astype(np.float32)


def frames(wave):
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither, options.frame_opts.window_type, options.mel_opts.num_bins = 0.0, "hamming", N_BANDS
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(RATE, (wave * 32768).tolist())
    fbank.input_finished()
    found = np.stack([fbank.get_frame(i) for i in range(fbank.num_frames_ready)])
    return (found - found.mean(0)).astype(np.float32)


def save(path, input_shape, output_shape, nodes, weights):
    graph = helper.make_graph(nodes, "tiny", [helper.make_tensor_value_info("input", TensorProto.FLOAT, input_shape)],
                              [helper.make_tensor_value_info("output", TensorProto.FLOAT, output_shape)],
                              [numpy_helper.from_array(value, name) for name, value in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def convolution(out, name, input_shape, output_shape, n_outputs, generator):
    """Samples -> convolution, ReLU, mean over time, linear layer."""
    weights = {"axis": np.array([1], np.int64), "kernel": generator.normal(0, 1, (4, 1, 64)).astype(np.float32),
               "linear": generator.normal(0, 1, (4, n_outputs)).astype(np.float32),
               "bias": generator.normal(0, 1, n_outputs).astype(np.float32)}
    nodes = [helper.make_node("Unsqueeze", ["input", "axis"], ["channel"]),
             helper.make_node("Conv", ["channel", "kernel"], ["found"], strides=[32]),
             helper.make_node("Relu", ["found"], ["positive"]),
             helper.make_node("ReduceMean", ["positive"], ["mean"], axes=[2], keepdims=0),
             helper.make_node("Gemm", ["mean", "linear", "bias"], ["output"])]
    save(os.path.join(out, name), input_shape, output_shape, nodes, weights)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out, generator = sys.argv[1], np.random.default_rng(5)
    os.makedirs(out, exist_ok=True)
    convolution(out, "embedder-wave.onnx", ["batch", "n"], ["batch", 8], 8, generator)
    convolution(out, "score-wave.onnx", [1, "n"], [1, 1], 1, generator)
    convolution(out, "scores-fixed.onnx", ["batch", FIXED], ["batch", 3], 3, generator)
    weights = {"linear": generator.normal(0, 0.1, (N_BANDS, 6)).astype(np.float32)}
    save(os.path.join(out, "embedder-frames.onnx"), ["batch", "frames", N_BANDS], ["batch", 6],
         [helper.make_node("MatMul", ["input", "linear"], ["found"]), helper.make_node("Tanh", ["found"], ["bounded"]),
          helper.make_node("ReduceMean", ["bounded"], ["output"], axes=[1], keepdims=0)], weights)
    save(os.path.join(out, "image.onnx"), [1, 3, 32, 32], [1, 3, 32, 32], [helper.make_node("Relu", ["input"], ["output"])], {})
    save(os.path.join(out, "growing.onnx"), [1, "n"], [1, "n"], [helper.make_node("Relu", ["input"], ["output"])], {})
    save(os.path.join(out, "crest.onnx"), [1, "n"], [1, 1],
         [helper.make_node("Abs", ["input"], ["level"]), helper.make_node("ReduceMax", ["level"], ["peak"], axes=[1]),
          helper.make_node("ReduceMean", ["level"], ["mean"], axes=[1]), helper.make_node("Div", ["peak", "mean"], ["output"])], {})

    def run(name, values):
        session = onnxruntime.InferenceSession(os.path.join(out, name))
        return session.run(None, {"input": values})[0].ravel()

    cases = []
    for pitch, seconds in [(110.0, 2.3), (180.0, 0.7), (240.0, 5.2)]:
        wave = sound(pitch, seconds)
        long = wave
        while len(long) < FIXED:
            long = np.concatenate([long, long])
        stretches = [run("scores-fixed.onnx", long[None, s:s + FIXED]) for s in range(0, len(long) - FIXED + 1, RATE)]
        found = {"embedder-wave.onnx": run("embedder-wave.onnx", wave[None]), "score-wave.onnx": run("score-wave.onnx", wave[None]),
                 "scores-fixed.onnx": np.mean(stretches, 0), "embedder-frames.onnx": run("embedder-frames.onnx", frames(wave)[None])}
        cases.append({"pitch_hz": pitch, "seconds": seconds, "outputs": {k: [round(float(x), 7) for x in v] for k, v in found.items()},
                      "frame_9": [round(float(x), 5) for x in frames(wave)[9]]})
    open(os.path.join(out, "golden.json"), "w").write(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
