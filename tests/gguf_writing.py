"""GGUF files of small models with random weights, as llama.cpp's converter writes them."""

import struct

from tests.models import random_model, text_tokenizer

EMPTY = b"GGUF" + struct.pack("<IQQ", 3, 0, 0)
_NORMAL, _CONTROL = 1, 3  # kinds of tokens
_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_PARTS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_llama(path, *, layers=3, stated_layers=None):
    """Write a random llama with a tokenizer of bytes; return model and tokenizer.

    stated_layers: how many the file says that there are; None: as many as there are.
    """
    import gguf

    tokenizer = text_tokenizer("byte")
    model = random_model("llama", layers)
    model.resize_token_embeddings(len(tokenizer))
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, model.config, stated_layers or layers)
    _add_tokens(writer, tokenizer)
    for name, tensor in model.state_dict().items():
        writer.add_tensor(_name(name), _ordered(name, tensor, model.config).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model, tokenizer


def _describe(writer, config, layers):
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)


def _add_tokens(writer, tokenizer):
    import json

    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    special = set(tokenizer.all_special_tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([_CONTROL if t in special else _NORMAL for t in tokens])
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)


def _name(name):
    if name in _NAMES:
        return _NAMES[name]
    layer, part = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
    return f"blk.{layer}.{_PARTS[part]}.weight"


def _ordered(name, tensor, config):
    """llama.cpp turns pairs of neighbours where transformers turns halves of a head."""
    if "q_proj" not in name and "k_proj" not in name:
        return tensor
    heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
    halves = tensor.unflatten(0, (heads, 2, -1))
    return halves.transpose(1, 2).flatten(0, 2).contiguous()
