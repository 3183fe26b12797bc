#!/usr/bin/env python3
"""A tiny Whisper with random weights, and what transformers hears with it, for the test of harmonica-eval's feature `whisper`.

usage: whisper_golden.py crates/harmonica-eval/tests/golden/whisper-tiny
Writes config.json, generation_config.json, model.safetensors, tokenizer.json (bytes and a few merges) and golden.json: frames of
the log-mel input and the symbols of greedy decoding. The sound follows a formula that both sides know. Weights are scaled so
that what is written depends on what is heard; candle computes GELU by its approximation, so near ties are avoided: the
smallest gap between the two likeliest symbols is written down.
needs: pip install torch transformers tokenizers safetensors numpy
"""
import json
import os
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

RATE = 16000
N_NEW = 24
MIN_GAP = 0.01
SOUNDS = [(110.0, 2.3), (180.0, 0.7), (240.0, 5.0), (95.0, 29.995)]  # pitch in Hz, seconds
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>", "<|notimestamps|>"]


def sound(pitch_hz, seconds):
    t = np.arange(int(seconds * RATE)) / RATE
    wave = 0.05 * sum(np.sin(2 * np.pi * pitch_hz * k * t + k) / k for k in range(1, 30)) * (1 + 0.5 * np.sin(9 * t))
    return wave.astype(np.float32)


def tokenizer():
    """Bytes, three merges, and Whisper's kind of special symbols behind them."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {letter: i for i, letter in enumerate(letters)}
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the")]
    for a, b in merges:
        vocab[a + b] = len(vocab)
    made = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(SPECIAL)
    return made


def random_model(config, seed):
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration(config).eval()
    # Sharp attention, and positions that count more than the symbol before: else one symbol is written for ever.
    scales = {"embed_tokens": 0.5, "embed_positions": 1.5, "q_proj": 3.0, "k_proj": 3.0, "conv1": 3.0}
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "encoder.embed_positions" in name or "layer_norm" in name:
                continue
            scale = scales.get(name.split(".")[-2], 1.6) if p.dim() > 1 else 0.1
            p.normal_(0, scale if p.dim() < 2 or "embed" in name else scale / p[0].numel() ** 0.5)
    return model


def hear(model, words):
    """What is written of every sound, and the smallest gap between the two likeliest symbols that may be written."""
    extractor, end = WhisperFeatureExtractor(feature_size=80), words.token_to_id("<|endoftext|>")
    never = model.generation_config.suppress_tokens
    cases, smallest = [], np.inf
    for pitch, seconds in SOUNDS:
        mel = extractor(sound(pitch, seconds), sampling_rate=RATE, return_tensors="pt").input_features
        with torch.no_grad():
            made = model.generate(mel, language="en", task="transcribe", do_sample=False, num_beams=1, max_new_tokens=N_NEW,
                                  return_dict_in_generate=True, output_logits=True)
        written = made.sequences[0].tolist()
        prompt = [words.token_to_id(n) for n in ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")]
        written = written[4:] if written[:4] == prompt else written
        for i, logits in enumerate(made.logits):
            logits = logits[0].clone()
            logits[never + (model.generation_config.begin_suppress_tokens if i == 0 else [])] = -np.inf
            best = torch.topk(logits, 2)
            smallest = min(smallest, float(best.values[0] - best.values[1]))
            assert int(best.indices[0]) == (written + [end])[i]
        written = written[:written.index(end)] if end in written else written
        frames = [0, 1, 57, 150, int(seconds * 100) - 1, 2000, 2999]
        cases.append({"pitch_hz": pitch, "seconds": seconds, "symbols": written, "text": words.decode(written).strip(),
                      "frames": {str(f): [round(float(x), 6) for x in mel[0, :, f]] for f in frames}})
    return cases, smallest


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    words = tokenizer()
    ids = {name: words.token_to_id(name) for name in SPECIAL}
    config = WhisperConfig(
        vocab_size=words.get_vocab_size(), num_mel_bins=80, d_model=24, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=96, decoder_ffn_dim=96,
        max_source_positions=1500, max_target_positions=64, pad_token_id=ids["<|endoftext|>"], bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|endoftext|>"], decoder_start_token_id=ids["<|startoftranscript|>"], suppress_tokens=None,
        begin_suppress_tokens=None)
    generation = GenerationConfig(
        decoder_start_token_id=ids["<|startoftranscript|>"], eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"], no_timestamps_token_id=ids["<|notimestamps|>"], is_multilingual=True,
        lang_to_id={"<|en|>": ids["<|en|>"], "<|de|>": ids["<|de|>"]},
        task_to_id={"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]},
        suppress_tokens=[3, 17, *[ids[name] for name in SPECIAL[1:]]], begin_suppress_tokens=[32, ids["<|endoftext|>"]],
        max_length=64)
    for seed in range(1, 200):
        model = random_model(config, seed)
        model.generation_config = generation
        cases, smallest = hear(model, words)
        n_different = len({tuple(case["symbols"]) for case in cases})
        print(f"seed {seed}: smallest gap {smallest:.4f}, {n_different} different", file=sys.stderr, flush=True)
        if smallest > MIN_GAP and n_different > 2:
            break
    print([c["symbols"] for c in cases], file=sys.stderr)
    # candle computes the encoder's positions itself.
    tensors = {k: v.contiguous() for k, v in model.state_dict().items() if "encoder.embed_positions" not in k and k != "proj_out.weight"}
    save_file(tensors, os.path.join(out, "model.safetensors"))
    kept = {k: v for k, v in config.to_dict().items() if k != "transformers_version"}
    json.dump(kept, open(os.path.join(out, "config.json"), "w"), indent=1, sort_keys=True)
    kept = {k: v for k, v in generation.to_dict().items() if k != "transformers_version"}
    json.dump(kept, open(os.path.join(out, "generation_config.json"), "w"), indent=1, sort_keys=True)
    words.save(os.path.join(out, "tokenizer.json"))
    golden = {"n_new": N_NEW, "smallest_gap": smallest, "cases": cases}
    open(os.path.join(out, "golden.json"), "w").write(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
