"""Build a model folder with random weights: `python -m tests.checkpoint --model 2 --size small --out DIR`.

Here is CosyVoice2's; `checkpoint3.py` has CosyVoice3's (`--model 3`), which takes no library.

No weights are downloaded. The folder has every file of a published one that inference reads, made by the CosyVoice
library itself (its modules, its state-dict names), so whatever loads this folder loads a real one too. Sound made with
it is noise with a pitch; what tests compare is one implementation's noise with another's.

Random weights alone would hide mistakes, so some are set on purpose: see `checkpoint_weights.py`. The seeds are fixed:
two builds give the same bytes.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import checkpoint3
from tests.checkpoint3_shapes import SIZES as SIZES_3
from tests.checkpoint_onnx import SPEECH_TOKENS, write_campplus, write_speech_tokenizer
from tests.checkpoint_text import ROOM_FOR_ADDED_TOKENS, SPECIAL_TOKENS, write_tokenizer
from tests.checkpoint_weights import tune

YAML_NAME = "cosyvoice2.yaml"
QWEN_FOLDER = "CosyVoice-BlankEN"

_SEED = 20240
_QWEN2_TEXT_IDS = 151936


@dataclass(frozen=True)
class Size:
    """The numbers of a model that may differ between checkpoints. The encoder's width is 512 in the library's code."""

    llm_width: int
    llm_layers: int
    llm_heads: int
    llm_kv_heads: int
    llm_hidden: int
    text_ids: int
    """Rows of the text embedding; 0 takes what the tokenizer needs."""
    encoder_blocks: int
    """Conformer blocks before the up-sampling; the library always puts four after it."""
    encoder_heads: int
    encoder_hidden: int
    decoder_channels: int
    decoder_heads: int
    decoder_head_width: int
    decoder_blocks: int
    """Transformer blocks at each level of the estimator."""
    decoder_mid_levels: int
    vocoder_channels: int
    pitch_channels: int


SIZES = {
    "small": Size(
        llm_width=128,
        llm_layers=3,
        llm_heads=4,
        llm_kv_heads=2,
        llm_hidden=256,
        text_ids=0,
        encoder_blocks=2,
        encoder_heads=4,
        encoder_hidden=128,
        decoder_channels=64,
        decoder_heads=2,
        decoder_head_width=16,
        decoder_blocks=2,
        decoder_mid_levels=2,
        vocoder_channels=64,
        pitch_channels=32,
    ),
    "full": Size(
        llm_width=896,
        llm_layers=24,
        llm_heads=14,
        llm_kv_heads=2,
        llm_hidden=4864,
        text_ids=_QWEN2_TEXT_IDS,
        encoder_blocks=6,
        encoder_heads=8,
        encoder_hidden=2048,
        decoder_channels=256,
        decoder_heads=8,
        decoder_head_width=64,
        decoder_blocks=4,
        decoder_mid_levels=12,
        vocoder_channels=512,
        pitch_channels=512,
    ),
}

_YAML = """\
__set_seed1: !apply:random.seed [1986]
__set_seed2: !apply:numpy.random.seed [1986]
__set_seed3: !apply:torch.manual_seed [1986]
__set_seed4: !apply:torch.cuda.manual_seed_all [1986]

sample_rate: 24000
llm_input_size: {size.llm_width}
llm_output_size: {size.llm_width}
spk_embed_dim: 192
qwen_pretrain_path: ''
token_frame_rate: 25
token_mel_ratio: 2
chunk_size: 25
num_decoding_left_chunks: -1

llm: !new:cosyvoice.llm.llm.Qwen2LM
    llm_input_size: !ref <llm_input_size>
    llm_output_size: !ref <llm_output_size>
    speech_token_size: {speech_tokens}
    length_normalized_loss: True
    lsm_weight: 0
    mix_ratio: [5, 15]
    llm: !new:cosyvoice.llm.llm.Qwen2Encoder
        pretrain_path: !ref <qwen_pretrain_path>
    sampling: !name:cosyvoice.utils.common.ras_sampling
        top_p: 0.8
        top_k: 25
        win_size: 10
        tau_r: 0.1

flow: !new:cosyvoice.flow.flow.CausalMaskedDiffWithXvec
    input_size: 512
    output_size: 80
    spk_embed_dim: !ref <spk_embed_dim>
    output_type: 'mel'
    vocab_size: {speech_tokens}
    input_frame_rate: !ref <token_frame_rate>
    only_mask_loss: True
    token_mel_ratio: !ref <token_mel_ratio>
    pre_lookahead_len: 3
    encoder: !new:cosyvoice.transformer.upsample_encoder.UpsampleConformerEncoder
        input_size: 512
        output_size: 512
        attention_heads: {size.encoder_heads}
        linear_units: {size.encoder_hidden}
        num_blocks: {size.encoder_blocks}
        dropout_rate: 0.1
        positional_dropout_rate: 0.1
        attention_dropout_rate: 0.1
        normalize_before: True
        input_layer: 'linear'
        pos_enc_layer_type: 'rel_pos_espnet'
        selfattention_layer_type: 'rel_selfattn'
        use_cnn_module: False
        macaron_style: False
        static_chunk_size: !ref <chunk_size>
    decoder: !new:cosyvoice.flow.flow_matching.CausalConditionalCFM
        in_channels: 240
        n_spks: 1
        spk_emb_dim: 80
        cfm_params: !new:omegaconf.DictConfig
            content:
                sigma_min: 1e-06
                solver: 'euler'
                t_scheduler: 'cosine'
                training_cfg_rate: 0.2
                inference_cfg_rate: 0.7
                reg_loss_type: 'l1'
        estimator: !new:cosyvoice.flow.decoder.CausalConditionalDecoder
            in_channels: 320
            out_channels: 80
            channels: [{size.decoder_channels}]
            dropout: 0.0
            attention_head_dim: {size.decoder_head_width}
            n_blocks: {size.decoder_blocks}
            num_mid_blocks: {size.decoder_mid_levels}
            num_heads: {size.decoder_heads}
            act_fn: 'gelu'
            static_chunk_size: !ref <chunk_size> * <token_mel_ratio>
            num_decoding_left_chunks: !ref <num_decoding_left_chunks>

hift: !new:cosyvoice.hifigan.generator.HiFTGenerator
    in_channels: 80
    base_channels: {size.vocoder_channels}
    nb_harmonics: 8
    sampling_rate: !ref <sample_rate>
    nsf_alpha: 0.1
    nsf_sigma: 0.003
    nsf_voiced_threshold: 10
    upsample_rates: [8, 5, 3]
    upsample_kernel_sizes: [16, 11, 7]
    istft_params:
        n_fft: 16
        hop_len: 4
    resblock_kernel_sizes: [3, 7, 11]
    resblock_dilation_sizes: [[1, 3, 5], [1, 3, 5], [1, 3, 5]]
    source_resblock_kernel_sizes: [7, 7, 11]
    source_resblock_dilation_sizes: [[1, 3, 5], [1, 3, 5], [1, 3, 5]]
    lrelu_slope: 0.1
    audio_limit: 0.99
    f0_predictor: !new:cosyvoice.hifigan.f0_predictor.ConvRNNF0Predictor
        num_class: 1
        in_channels: 80
        cond_channels: {size.pitch_channels}

get_tokenizer: !name:cosyvoice.tokenizer.tokenizer.get_qwen_tokenizer
    token_path: !ref <qwen_pretrain_path>
    skip_special_tokens: True
allowed_special: 'all'
feat_extractor: !name:matcha.utils.audio.mel_spectrogram
    n_fft: 1920
    num_mels: 80
    sampling_rate: !ref <sample_rate>
    hop_size: 480
    win_size: 1920
    fmin: 0
    fmax: 8000
    center: False
"""


def library_path() -> Path:
    """The folder that holds the packages `cosyvoice` and `matcha`: the snapshot inside the wheel `xinference`."""
    folder = Path(str(importlib.metadata.distribution("xinference").locate_file("xinference/thirdparty")))
    if not (folder / "cosyvoice" / "cli" / "cosyvoice.py").is_file():
        raise FileNotFoundError(f"no CosyVoice library in {folder}")
    return folder


def build(out: Path, size: Size) -> None:
    """Write a model folder to `out`. The packages `cosyvoice` and `matcha` must be importable.

    Every weight is float32, but for those in the Qwen2 folder: they are bfloat16 as in the published one, and not the
    ones in `llm.pt`, which take their place. Whoever forgets to load `llm.pt` gets another voice altogether.
    """
    import torch

    out.mkdir(parents=True, exist_ok=True)
    (out / YAML_NAME).write_text(_YAML.format(size=size, speech_tokens=SPEECH_TOKENS), "utf-8")
    write_campplus(out / "campplus.onnx")
    write_speech_tokenizer(out / "speech_tokenizer_v2.onnx")
    _write_qwen(out / QWEN_FOLDER, size)
    modules = _modules(out)
    tune(modules["llm"], modules["flow"], modules["hift"], seed=_SEED + 1)
    for name, module in modules.items():
        torch.save(module.state_dict(), out / f"{name}.pt")


def _write_qwen(folder: Path, size: Size) -> None:
    """Write the Qwen2 folder: configuration, tokenizer and weights."""
    import torch

    qwen: Any = importlib.import_module("transformers")  # its constructors are not typed
    folder.mkdir(exist_ok=True)
    ids = write_tokenizer(folder)
    config = qwen.Qwen2Config(
        vocab_size=size.text_ids or ids + ROOM_FOR_ADDED_TOKENS,
        hidden_size=size.llm_width,
        intermediate_size=size.llm_hidden,
        num_hidden_layers=size.llm_layers,
        num_attention_heads=size.llm_heads,
        num_key_value_heads=size.llm_kv_heads,
        max_position_embeddings=32768,
        rms_norm_eps=1e-6,
        rope_theta=1_000_000.0,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=ids - len(SPECIAL_TOKENS),
    )
    torch.manual_seed(_SEED)
    qwen.Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


def _modules(folder: Path) -> dict[str, Any]:
    """Build the three networks as the library does, from the configuration in `folder`."""
    from hyperpyyaml import load_hyperpyyaml

    with (folder / YAML_NAME).open(encoding="utf-8") as file:
        made: dict[str, Any] = load_hyperpyyaml(file, overrides={"qwen_pretrain_path": str(folder / QWEN_FOLDER)})
    return {name: made[name].float() for name in ("llm", "flow", "hift")}


def main() -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("2", "3"), default="2", help="CosyVoice2 or CosyVoice3")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write (made if missing)")
    parser.add_argument("--source-dir", type=Path, help="a CosyVoice checkout; default: the snapshot in xinference")
    arguments = parser.parse_args()
    start = time.monotonic()
    if arguments.model == "3":
        checkpoint3.build(arguments.out, SIZES_3[arguments.size])
    else:
        source = arguments.source_dir or library_path()
        sys.path += [str(source), str(source / "third_party" / "Matcha-TTS")]
        build(arguments.out, SIZES[arguments.size])
    print(f"{arguments.size} CosyVoice{arguments.model} in {arguments.out}, {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main()
