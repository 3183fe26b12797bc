#!/usr/bin/env python3
"""What PyTorch computes for a GE2E-type speaker embedder with made-up weights, for the test of harmonica-eval's own.

usage: ge2e_golden.py > crates/harmonica-eval/src/ge2e_golden.json
Weights and sound follow formulas that both sides know, so that only the vector is kept.
needs: pip install torch numpy
"""
import json

import numpy as np
import torch

WIDTH, LAYERS, BANDS, RATE, STEP, PARTIAL = 256, 3, 40, 16000, 160, 160


def weights(n, tensor):
    """Made-up weights between -0.1 and 0.1."""
    i = np.arange(n, dtype=np.uint64)
    mixed = ((i * np.uint64(2654435761) + np.uint64(tensor * 97 + 1)) * np.uint64(2246822519)) % np.uint64(2**32)
    mixed = mixed ^ (mixed >> np.uint64(15))
    return ((mixed.astype(np.float64) / 2**32 - 0.5) * 0.2).astype(np.float32)


def mel_filters():
    """Slaney's scale, each filter of unit area."""
    def hz(mel):
        return np.where(mel < 15, 200 / 3 * mel, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)))

    top = 15 + np.log(RATE / 2 / 1000) / (np.log(6.4) / 27)
    edges = hz(np.linspace(0, top, BANDS + 2))
    bins = np.linspace(0, RATE / 2, 201)
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(rise, fall)) * (2 / (edges[2:] - edges[:-2]))[:, None]


def main():
    t = np.arange(int(2.3 * RATE)) / RATE
    wave = 0.01 * sum(np.sin(2 * np.pi * 130 * k * t + k) / k for k in range(1, 30)) * (1 + 0.5 * np.sin(9 * t))
    wave = wave.astype(np.float32).astype(np.float64)
    level = 20 * np.log10(np.sqrt(np.mean(wave**2)))
    wave = wave * 10 ** (max(0.0, -30 - level) / 20)
    lstm = torch.nn.LSTM(BANDS, WIDTH, LAYERS, batch_first=True)
    linear = torch.nn.Linear(WIDTH, WIDTH)
    with torch.no_grad():
        tensor = 0
        for layer in range(LAYERS):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                parameter = getattr(lstm, f"{name}_l{layer}")
                parameter.copy_(torch.from_numpy(weights(parameter.numel(), tensor)).reshape(parameter.shape))
                tensor += 1
        for parameter in (linear.weight, linear.bias):
            parameter.copy_(torch.from_numpy(weights(parameter.numel(), tensor)).reshape(parameter.shape))
            tensor += 1
        hop = int(round(RATE / 1.3 / STEP))
        n_frames = int(np.ceil((len(wave) + 1) / STEP))
        starts = list(range(0, max(1, n_frames - PARTIAL + hop + 1), hop))
        if len(starts) > 1 and (len(wave) - starts[-1] * STEP) / (PARTIAL * STEP) < 0.75:
            starts.pop()
        wave = np.pad(wave, (0, max(0, (starts[-1] + PARTIAL) * STEP - len(wave))))
        spectrum = torch.stft(torch.from_numpy(wave), 400, STEP, window=torch.hann_window(400, dtype=torch.float64),
                              center=True, pad_mode="constant", return_complex=True)
        mel = (torch.from_numpy(mel_filters()) @ spectrum.abs() ** 2).T.float()
        partials = torch.stack([mel[s:s + PARTIAL] for s in starts])
        _, (hidden, _) = lstm(partials)
        vectors = torch.relu(linear(hidden[-1]))
        vectors = vectors / vectors.norm(dim=1, keepdim=True)
        vector = vectors.mean(0)
        vector = vector / vector.norm()
    print(json.dumps({"n_partials": len(starts), "mel_frame_50": [round(float(x), 9) for x in mel[50]],
                      "vector": [round(float(x), 7) for x in vector]}))


if __name__ == "__main__":
    main()
