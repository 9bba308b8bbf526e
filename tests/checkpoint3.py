"""Build a CosyVoice3 model folder with random weights, from names and shapes alone: no library takes part.

Whatever loads this folder loads a published one too. The seeds are fixed: two builds give the same bytes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tests.checkpoint3_shapes import Size, networks, qwen_shapes
from tests.checkpoint_onnx import SPEECH_TOKENS, write_campplus, write_speech_tokenizer
from tests.checkpoint_text import SPECIAL_TOKENS, write_tokenizer

if TYPE_CHECKING:
    import torch

YAML_NAME = "cosyvoice3.yaml"
QWEN_FOLDER = "CosyVoice-BlankEN"
ROOM_FOR_ADDED_TOKENS = 320
"""Rows to leave in a text embedding beyond the vocabulary: the tokenizer adds 280 pieces."""

_SEED = 20250

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

llm: !new:cosyvoice.llm.llm.CosyVoice3LM
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

flow: !new:cosyvoice.flow.flow.CausalMaskedDiffWithDiT
    input_size: 80
    output_size: 80
    spk_embed_dim: !ref <spk_embed_dim>
    output_type: 'mel'
    vocab_size: {speech_tokens}
    input_frame_rate: !ref <token_frame_rate>
    only_mask_loss: True
    token_mel_ratio: !ref <token_mel_ratio>
    pre_lookahead_len: 3
    pre_lookahead_layer: !new:cosyvoice.transformer.upsample_encoder.PreLookaheadLayer
        in_channels: 80
        channels: {size.flow_width}
        pre_lookahead_len: 3
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
        estimator: !new:cosyvoice.flow.DiT.dit.DiT
            dim: {size.flow_width}
            depth: {size.flow_depth}
            heads: {size.flow_heads}
            dim_head: {size.flow_head_width}
            ff_mult: 2
            mel_dim: 80
            mu_dim: 80
            spk_dim: 80
            out_channels: 80
            static_chunk_size: !ref <chunk_size> * <token_mel_ratio>
            num_decoding_left_chunks: !ref <num_decoding_left_chunks>

hift: !new:cosyvoice.hifigan.generator.CausalHiFTGenerator
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
    conv_pre_look_right: 4
    f0_predictor: !new:cosyvoice.hifigan.f0_predictor.CausalConvRNNF0Predictor
        num_class: 1
        in_channels: 80
        cond_channels: {size.pitch_channels}

get_tokenizer: !name:cosyvoice.tokenizer.tokenizer.get_qwen_tokenizer
    token_path: !ref <qwen_pretrain_path>
    skip_special_tokens: True
    version: cosyvoice3
allowed_special: 'all'
feat_extractor: !name:matcha.utils.audio.mel_spectrogram
    n_fft: 1920
    num_mels: 80
    sampling_rate: !ref <sample_rate>
    hop_size: 480
    win_size: 1920
    fmin: 0
    fmax: null
    center: False
"""


def build(out: Path, size: Size) -> None:
    """Write a model folder to `out`.

    Every weight is float32, but for those in the Qwen2 folder: they are bfloat16 as in the published one, and not the
    ones in `llm.pt`, which take their place.
    """
    import torch

    from tests.checkpoint3_weights import draw, tune_flow, tune_hift, tune_llm

    out.mkdir(parents=True, exist_ok=True)
    (out / YAML_NAME).write_text(_YAML.format(size=size, speech_tokens=SPEECH_TOKENS), "utf-8")
    write_campplus(out / "campplus.onnx")
    write_speech_tokenizer(out / "speech_tokenizer_v3.onnx")
    torch.manual_seed(_SEED)
    text_ids = _write_qwen(out / QWEN_FOLDER, size)
    tune = {"llm": tune_llm, "flow": tune_flow, "hift": tune_hift}
    for name, shapes in networks(size, text_ids):
        state = draw(shapes)
        tune[name](state)
        torch.save(state, out / f"{name}.pt")


def _write_qwen(folder: Path, size: Size) -> int:
    """Write the Qwen2 folder: configuration, tokenizer and weights. Returns the rows of its text embedding."""
    import torch

    from tests.checkpoint3_weights import draw

    folder.mkdir(exist_ok=True)
    ids = write_tokenizer(folder)
    text_ids = size.text_ids or ids + ROOM_FOR_ADDED_TOKENS
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "eos_token_id": ids - len(SPECIAL_TOKENS),
        "hidden_act": "silu",
        "hidden_size": size.llm_width,
        "initializer_range": 0.02,
        "intermediate_size": size.llm_hidden,
        "max_position_embeddings": 32768,
        "model_type": "qwen2",
        "num_attention_heads": size.llm_heads,
        "num_hidden_layers": size.llm_layers,
        "num_key_value_heads": size.llm_kv_heads,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": text_ids,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    state = {name: tensor.to(torch.bfloat16) for name, tensor in draw(qwen_shapes(size, text_ids)).items()}
    _write_safetensors(folder / "model.safetensors", state)
    return text_ids


def _write_safetensors(path: Path, state: dict[str, torch.Tensor]) -> None:
    """The format is a length, a header in JSON that says where each tensor lies, and their bytes."""
    import torch

    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in state.items():
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in state.values():
            file.write(tensor.contiguous().view(torch.uint8).numpy().tobytes())
