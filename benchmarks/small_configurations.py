"""Small configurations of the architectures that are run, and of those that are refused."""

from typing import Any

LAYERS = 3
COMMON = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_OWN_HEADS = {"num_key_value_heads": 4}  # heads share nothing, or are shared in another way
_SLIDING = {"sliding_window": 3}
_MLA = _OWN_HEADS | {
    **{"q_lora_rank": 8, "kv_lora_rank": 8, "v_head_dim": 4},
    **{"qk_rope_head_dim": 4, "qk_nope_head_dim": 4},
}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
_LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
_LINEAR_ATTENTION = {
    "layer_types": ["linear_attention", "linear_attention", "full_attention"],
    **{"linear_num_key_heads": 4, "linear_num_value_heads": 4},
    **{"linear_key_head_dim": 4, "linear_value_head_dim": 4},
}
# By model_type, a variant behind the comma: what its small configuration has beside COMMON.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "olmo2": {},
    "olmo3": _SLIDING,
    "llama": {},
    "mistral": _SLIDING,
    "qwen2": {},
    "qwen3": {"head_dim": 6},
    "smollm3": {},
    "gemma": {"head_dim": 6},
    "gemma2": {"head_dim": 6, **_SLIDING},
    "gemma3_text": {"head_dim": 6, **_SLIDING},
    "granite": {"residual_multiplier": 0.6, "embedding_multiplier": 3.0, "logits_scaling": 2.0},
    "phi3": {},
    "stablelm": {},
    "stablelm, parallel": {"use_parallel_residual": True},
    "gpt2": {},
    "gpt_neox": _OWN_HEADS,
    "gpt_neox, serial": _OWN_HEADS | {"use_parallel_residual": False},
    "gptj": {"rotary_dim": 4},
    "gpt_neo": {"attention_types": [[["global", "local", "global"], 1]], "window_size": 3},
    "gpt_bigcode": {},
    "falcon": {},
    "falcon, alibi": {"alibi": True, "parallel_attn": False, "multi_query": False},
    "falcon, new": {"new_decoder_architecture": True, "num_kv_heads": 2},
    "bloom": {},
    "mpt": {"expansion_ratio": 2},
    "opt": {"ffn_dim": 24, "word_embed_proj_dim": 16},
    "opt, post-norm": {"ffn_dim": 24, "word_embed_proj_dim": 8, "do_layer_norm_before": False},
    "xglm": {"ffn_dim": 24},
    "openai-gpt": {},
    "olmo": {},
    "phi": {},
    "cohere2": {"logit_scale": 1.0, **_SLIDING},
    "glm4": {"head_dim": 4},
    "starcoder2": {},
    "nemotron": {"head_dim": 4},
    "gemma4_text": {
        **{"head_dim": 4, "global_head_dim": 4, "num_kv_shared_layers": 0},
        **{"hidden_size_per_layer_input": 4, "vocab_size_per_layer_input": 40},
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
    },
    "mixtral": _LOCAL_EXPERTS,
    "qwen2_moe": {**_EXPERTS, "shared_expert_intermediate_size": 8, "mlp_only_layers": [1]},
    "qwen3_moe": {**_EXPERTS, "head_dim": 4, "mlp_only_layers": [1]},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "granitemoe": _LOCAL_EXPERTS,
    "gpt_oss": {**_LOCAL_EXPERTS, "head_dim": 4},
    "deepseek_v3": {
        **{**_MLA, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8},
        **{"n_group": 2, "topk_group": 1, "first_k_dense_replace": 1},
    },
    "qwen3_next": {
        **{**_EXPERTS, **_LINEAR_ATTENTION, "head_dim": 4},
        "shared_expert_intermediate_size": 8,
    },
    "olmo_hybrid": _LINEAR_ATTENTION,
}
REFUSED: dict[str, dict[str, Any]] = {
    "t5": {"num_layers": 2, "d_kv": 4, "d_ff": 24},
    "mamba": {},
    "rwkv": {},
    "falcon_h1": {"mamba_d_ssm": 16, "mamba_n_heads": 4, "mamba_d_head": 4},
    "bert": {},
    "gemma3n_text": {
        **{"head_dim": 4, "num_kv_shared_layers": 0, "altup_num_inputs": 2},
        **{"hidden_size_per_layer_input": 4, "vocab_size_per_layer_input": 40},
        **{"layer_types": ["full_attention"] * LAYERS, "activation_sparsity_pattern": None},
    },
}
