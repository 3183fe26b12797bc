"""Golden files of EnCodec from its reference implementation in `transformers`, with random weights.

usage: golden_encodec.py [OUTPUT_DIR] [--full] [--seed N]

Writes one directory a model: `config.json`, `model*.safetensors` in the layouts that are met in the wild, and `io.safetensors` with waveforms,
codes, decoded samples and the activations of every layer; of one model also what `torch.save` makes of it. The committed models are tiny; `--full` writes the 24 kHz and the 48 kHz model in
their real size (`HARMONICA_ENCODEC_FIXTURES=DIR:DIR cargo test --release -p harmonica-codec --test encodec_parity`).

A freshly initialised model would not do: its codebooks are zeros and its output is little but biases. So each convolution's length `g` is
set so that its output varies by about one, and codebooks are drawn from the residuals that they will meet.
Needs: torch, transformers, safetensors.
"""

import argparse
import json
import os
from collections import OrderedDict

import torch
from safetensors.torch import save_file
from transformers import EncodecConfig, EncodecModel

TINY = dict(num_filters=2, hidden_size=8, upsampling_ratios=[4, 3, 2], codebook_size=16)
RATES = dict(target_bandwidths=[4.0, 8.0, 16.0, 24.0])
STEREO = dict(
    sampling_rate=48000, audio_channels=2, normalize=True, chunk_length_s=0.05, overlap=0.01,
    norm_type="time_group_norm", use_causal_conv=False,
)
VARIANTS = {
    "encodec-causal": dict(**TINY, **RATES),
    "encodec-stereo": dict(**TINY, **STEREO, target_bandwidths=[8.0, 16.0, 32.0]),
    "encodec-centred": dict(**TINY, **RATES, use_causal_conv=False, use_conv_shortcut=False, num_residual_layers=2),
    "encodec-constant": dict(**TINY, **RATES, pad_mode="constant", trim_right_ratio=0.5, num_lstm_layers=1, compress=1),
}
FULL = {
    "encodec-24khz": dict(),
    "encodec-48khz": {**STEREO, "chunk_length_s": 1.0, "target_bandwidths": [3.0, 6.0, 12.0, 24.0]},
}
ENDINGS = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}


def voice(config, n, seed):
    """A buzz of changing pitch and loudness, with some noise."""
    random = torch.Generator().manual_seed(seed)
    t = torch.arange(n) / config.sampling_rate
    phase = torch.cumsum(2 * torch.pi * (130 + 25 * torch.sin(17 * t)) / config.sampling_rate, 0)
    mono = 0.15 * sum(torch.sin(k * phase) / k for k in range(1, 16)) * (0.6 + 0.4 * torch.sin(11 * t))
    channels = [mono * (1 - 0.3 * c) + 0.02 * torch.randn(n, generator=random) for c in range(config.audio_channels)]
    return torch.stack(channels)[None].float()


def liven(model, config):
    """Weights under which the output depends on the input, and codebooks that are used."""
    for name, parameter in model.named_parameters():
        if name.endswith("original0"):
            parameter.mul_(0.7 + 0.6 * torch.rand_like(parameter))
        elif ".lstm.weight" in name:
            parameter.mul_(2.5)
        elif name.endswith("bias") and ".lstm." not in name:
            parameter.add_(0.1 * torch.randn_like(parameter))
        elif name.endswith("norm.weight"):
            parameter.add_(0.2 * torch.randn_like(parameter))
    rate = config.sampling_rate
    latents = torch.randn(1, config.hidden_size, 80)
    for half, given in ((model.encoder, voice(config, rate // 2, 5)), (model.decoder, latents)):
        for layer in [m for m in half.modules() if hasattr(m, "conv") and hasattr(m.conv, "parametrizations")]:
            made = []
            hook = layer.register_forward_hook(lambda _, __, out: made.append(out))
            half(given)
            hook.remove()
            layer.conv.parametrizations.weight.original0.div_(made[0].std().clamp_min(1e-6))
    if config.norm_type == "weight_norm":
        model.decoder.layers[-1].conv.parametrizations.weight.original0.mul_(0.2)
    heard = voice(config, rate, 6)
    if config.normalize:
        heard = heard / heard.pow(2).mean().sqrt()
    residual = model.encoder(heard)[0].T
    for quantizer in model.quantizer.layers:
        embed = quantizer.codebook.embed
        if config.codebook_size < len(residual):
            rows = residual[torch.randint(0, len(residual), (config.codebook_size,))]
            embed.copy_(rows + 0.3 * residual.std() * torch.randn_like(rows))
        else:
            # A codebook that holds every frame leaves next to nothing to the one after it, and then less than f32 can tell apart. Directions
            # at random, about as long as the part of a residual that the best of them takes away, leave nine tenths.
            embed.copy_(0.3 * residual.pow(2).mean().sqrt() * torch.randn_like(embed))
        residual = residual - embed[torch.cdist(residual, embed).argmin(1)]


def layouts(model, config, every):
    """The same weights as different libraries write them."""
    state = {k: v.contiguous().clone() for k, v in model.state_dict().items()}
    yield "model", state
    if config.norm_type != "weight_norm" or not every:
        return
    pairs = dict(state)
    for ending, parametrized in ENDINGS.items():
        pairs = {k.replace(parametrized, ending): v for k, v in pairs.items()}
    yield "model_pairs", pairs
    yield "model_inside_another", {f"audio_encoder.{k}": v for k, v in pairs.items()} | {"lm.weight": torch.ones(2)}
    folded = {k: v for k, v in pairs.items() if not k.endswith(("weight_g", "weight_v"))}
    for k, g in pairs.items():
        if k.endswith("weight_g"):
            v = pairs[k[:-1] + "v"]
            folded[k[:-2]] = v * (g / v.pow(2).sum((1, 2), keepdim=True).sqrt())
    yield "model_folded", folded
    first = {}
    for k, v in pairs.items():
        part = k.split(".")
        upsamples = part[0] == "decoder" and type(model.decoder.layers[int(part[2])]).__name__ == "EncodecConvTranspose1d"
        k = k.replace(".conv.", ".convtr.convtr." if upsamples else ".conv.conv.")
        k = k.replace("coder.layers.", "coder.model.").replace("quantizer.layers.", "quantizer.vq.layers.")
        first[k.replace(".codebook.", "._codebook.")] = v
    yield "model_first_names", first


def state_dict(model, tensors):
    """Tensors as `state_dict()` gives them: an ordered dictionary that knows the versions of the layers."""
    ordered = OrderedDict(tensors)
    ordered._metadata = model.state_dict()._metadata
    return ordered


@torch.no_grad()
def write(directory, options, seed, full):
    torch.manual_seed(seed)
    os.makedirs(directory, exist_ok=True)
    config = EncodecConfig(**options)
    model = EncodecModel(config).eval()
    liven(model, config)
    for name, tensors in layouts(model, config, full or "causal" in directory):
        save_file(tensors, f"{directory}/{name}.safetensors")
        if not full and name == "model_first_names":
            package = {"best_state": state_dict(model, tensors), "xp.cfg": "dset: none", "exported": True}
            torch.save(package, f"{directory}/{name}.th")
        if not full and name == "model_pairs":
            torch.save(state_dict(model, tensors), f"{directory}/pytorch_model.bin")
    hop = config.hop_length
    keys = set(options) | {"sampling_rate", "hidden_size", "num_filters", "upsampling_ratios", "codebook_size", "model_type"}
    with open(f"{directory}/config.json", "w") as file:
        json.dump({k: v for k, v in sorted(config.to_dict().items()) if k in keys}, file, indent=1)
        file.write("\n")
    lengths = {"long": 2 * config.sampling_rate, "longer": 4 * config.sampling_rate + 7} if full else {"long": 40 * hop + 5}
    if config.chunk_length_s is None:
        lengths |= dict(one=1, five=5, seven=7, short=hop - 1, hop=hop, over=hop + 1, odd=3 * hop + 17)
    else:
        lengths = {"long": int(2.5 * config.chunk_length)}
    io = {}
    for name, n in lengths.items():
        audio = voice(config, n, 100 + n)
        io[f"{name}.audio"] = audio
        encoded = model.encode(audio, bandwidth=config.target_bandwidths[-1], return_dict=True)
        codes = encoded.audio_codes
        io[f"{name}.codes"] = codes.to(torch.int32)
        if config.normalize:
            io[f"{name}.scales"] = torch.stack(encoded.audio_scales).reshape(-1)
        else:
            io[f"{name}.embeddings"] = model.encoder(audio)
        for kbps in config.target_bandwidths:
            q = model.quantizer.get_num_quantizers_for_bandwidth(kbps)
            pad = encoded.last_frame_pad_length
            decoded = model.decode(codes[:, :, :q], encoded.audio_scales, last_frame_pad_length=pad)
            io[f"{name}.decoded_q{q}"] = decoded.audio_values
    name = "odd" if "odd" in lengths else "layers"
    rows = io.get("odd.audio", io["long.audio"][..., : 3 * hop + 17])
    io[f"{name}.input"] = rows.clone()
    for i, layer in enumerate(model.encoder.layers):
        rows = layer(rows)
        io[f"{name}.enc.{i}"] = rows
    rows = model.quantizer.decode(model.quantizer.encode(rows, config.target_bandwidths[-1]))
    io[f"{name}.quantized"] = rows
    for i, layer in enumerate(model.decoder.layers):
        rows = layer(rows)
        io[f"{name}.dec.{i}"] = rows
    save_file({k: v.contiguous() for k, v in io.items()}, f"{directory}/io.safetensors")
    sizes = {k: list(v.shape) for k, v in io.items() if k.endswith("codes")}
    print(directory, sizes, {k: round(v.std().item(), 3) for k, v in io.items() if "long.decoded" in k})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("output", nargs="?", default="crates/harmonica-codec/fixtures")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, options in (FULL if arguments.full else VARIANTS).items():
        write(f"{arguments.output}/{name}", options, arguments.seed, arguments.full)
