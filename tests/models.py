"""Small models with random or hand-set weights, and tokenizers to go with them."""

import functools
from typing import Any, ClassVar

import torch
from nnsight import TransformersModel
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BloomConfig,
    BloomForCausalLM,
    GenerationMixin,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import CausalLMOutputWithPast

from ivmethods.model.handles import wrap
from ivmethods.prompts.protocols import Sample

VOCAB = 40
WIDTH = 16
LAYOUTS = ("olmo2", "llama", "gpt2", "gpt_neox")
RMS_LAYOUTS = (
    *("olmo2", "olmo3", "llama", "mistral", "qwen2", "qwen3", "smollm3"),
    *("gemma", "gemma2", "gemma3_text", "granite", "phi3"),
)
LINEAR_LAYOUTS = (
    *RMS_LAYOUTS,
    "stablelm",
    "stablelm_parallel",
    "gpt2",
    "gpt_neox",
    "gpt_neox_serial",
)


def random_model(layout: str, n_layers: int, *, seed: int = 0, attention: str = "sdpa") -> Any:
    """A randomly initialized transformers model, large enough weights for clear differences."""
    torch.manual_seed(seed)
    common = {"vocab_size": VOCAB, "hidden_size": WIDTH, "initializer_range": 0.3}
    common |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    deep = {"num_hidden_layers": n_layers, "num_attention_heads": 2, "intermediate_size": 24}
    if layout == "olmo2":
        model: Any = Olmo2ForCausalLM(Olmo2Config(**common, **deep))
    elif layout == "llama":
        model = LlamaForCausalLM(LlamaConfig(**common, **deep, num_key_value_heads=1))
    elif layout == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(**common, n_layer=n_layers, n_head=2, n_positions=32))
    elif layout == "gpt_neox":
        model = GPTNeoXForCausalLM(GPTNeoXConfig(**common, **deep))
    else:
        model = BloomForCausalLM(BloomConfig(**common, n_layer=n_layers, n_head=2))
    if layout != "bloom":
        model.set_attn_implementation(attention)
    return model.eval().requires_grad_(False)


def every_part_model(layout: str, n_layers: int, *, seed: int = 0) -> Any:
    """A random model of one of `LINEAR_LAYOUTS` in which no part is idle.

    Every bias that the layout can have is there and not zero, norm weights differ, epsilons are
    large, heads share their values and are wider than d_model / heads, windows are short.
    """
    options: dict[str, Any] = {"vocab_size": VOCAB, "hidden_size": WIDTH, "initializer_range": 0.3}
    options |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    options |= {"num_hidden_layers": n_layers, "num_attention_heads": 4}
    if layout in RMS_LAYOUTS:
        options |= {"num_key_value_heads": 2, "head_dim": 6, "intermediate_size": 24}
        options |= {"attention_bias": True, "mlp_bias": True, "rms_norm_eps": 0.05}
        options |= {"sliding_window": 3, "use_sliding_window": True}
        options |= {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 1.5}
        if layout in ("olmo3", "qwen2", "qwen3", "smollm3", "gemma2", "gemma3_text"):
            kinds = ("sliding_attention", "full_attention")
            options["layer_types"] = [kinds[layer % 2] for layer in range(n_layers)]
        if layout == "granite":
            options |= {"embedding_multiplier": 3.0, "attention_multiplier": 0.3}
            options |= {"residual_multiplier": 0.6, "logits_scaling": 2.0}
    elif layout.startswith("stablelm"):
        options |= {"num_key_value_heads": 2, "intermediate_size": 24, "layer_norm_eps": 0.05}
        options |= {"use_qkv_bias": True, "use_parallel_residual": layout != "stablelm"}
    elif layout == "gpt2":
        options |= {"n_positions": 32, "layer_norm_epsilon": 0.05}
    else:
        options |= {"intermediate_size": 24, "layer_norm_eps": 0.05}
        options["use_parallel_residual"] = layout == "gpt_neox"
    config = AutoConfig.for_model(model_type(layout), **options)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter += 0.3 * torch.randn(parameter.shape)
    return model


def model_type(layout: str) -> str:
    """The `model_type` that one of `LINEAR_LAYOUTS` is a variant of."""
    return layout.removesuffix("_serial").removesuffix("_parallel")


def wrapped(layout: str, n_layers: int, *, seed: int = 0, attention: str = "sdpa") -> Any:
    """A random model behind the handle that the methods take."""
    return wrap(random_model(layout, n_layers, seed=seed, attention=attention), number_tokenizer())


def number_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of numbers as words, for models whose prompts are made of token ids."""
    tokenizer = Tokenizer(models.WordLevel({str(i): i for i in range(VOCAB)}, unk_token="0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="0", bos_token="1", eos_token="2"
    )


def random_samples(shapes: list[tuple[int, int]], *, seed: int = 0) -> list[Sample]:
    """Samples whose target runs have the given (length, patch site)."""
    generator = torch.Generator().manual_seed(seed)

    def tokens(length: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, VOCAB, (length,), generator=generator).tolist())

    return [
        Sample(
            query=str(index),
            instructed=tokens(length + 3),
            t_inst=2,
            target=tokens(length),
            site=site,
            answer=3 + index % 5,
            contrast=None if index % 3 == 2 else 9,
        )
        for index, (length, site) in enumerate(shapes)
    ]


def random_vectors(n_samples: int, n_layers: int, *, seed: int = 0) -> torch.Tensor:
    return torch.randn(n_samples, n_layers, WIDTH, generator=torch.Generator().manual_seed(seed))


@functools.cache
def text_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer trained on a few prompts.

    `byte`: byte-level, adds nothing. `byte_bos`: the same, and adds BOS by itself. `byte_eos`: it
    closes every text with EOS. `metaspace`: words carry their space, like SentencePiece.
    `no_bos`: byte-level without a BOS token.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    special = ["<pad>", "<s>", "</s>"]
    corpus = [
        "Given an adjective, state its antonym. Adjective: big. Answer: small",
        "Given an animal, state its most typical associated color. Animal: crow. Answer: black",
        "Print 'yes' or 'no'. Answer: yes no smaller bigger",
    ] * 20
    if kind == "metaspace":
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation("isolated")]
        )
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Punctuation("isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
    tokenizer.train_from_iterator(corpus, trainer)
    template = {"byte_bos": "<s> $A", "byte_eos": "$A </s>", "metaspace": "<s> $A"}.get(kind)
    if template:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    bos = {} if kind == "no_bos" else {"bos_token": "<s>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", **bos
    )


@functools.cache
def spacing_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer of single characters, whose words begin with a space of their own.

    But for " small", which is a token. `digits`: of bytes, as Llama 3's, the spaces with a width;
    `trimmed`: without. `fallback`: of characters, bytes where it knows none, as Llama 2's.
    `suffix`: the same, and it ends every text with a space. `closing`: of known characters, in
    [CLS] and [SEP].
    """
    names = ["<pad>", "<s>", "</s>", "<unk>", "[CLS]", "[SEP]"]
    letters = "abcdefghijklmnopqrstuvwxyzAGINOT0123456789.,:'"
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    start = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    space = "\u0120" if kind in ("digits", "trimmed") else "\u2581"
    if kind in ("digits", "trimmed"):
        known = [*pre_tokenizers.ByteLevel.alphabet()]
    else:
        known = [f"<0x{byte:02X}>" for byte in range(256)] * (kind != "closing")
        known += [*letters, *(f"##{letter}" for letter in letters), "\u6f22", space]
    parts = [space + "small"[:end] for end in range(1, 6)]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys([*names, *known, *parts]))}
    merges = [(space + "small"[:end], "small"[end]) for end in range(5)]
    if kind == "closing":
        tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 4), ("[SEP]", 5)]
        )
        special = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "<pad>"}
    elif kind in ("digits", "trimmed"):
        tokenizer = Tokenizer(models.BPE(vocabulary, merges))
        words = Regex(r" ?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(words, "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        trim = processors.ByteLevel(trim_offsets=kind == "trimmed")
        tokenizer.post_processor = processors.Sequence([trim, start])
    else:
        tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True))
        steps = [normalizers.Prepend(space), normalizers.Replace(" ", space)]
        steps += [normalizers.Replace(Regex("$"), space)] * (kind == "suffix")
        tokenizer.normalizer = normalizers.Sequence(steps)
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace(space, " "), decoders.ByteFallback(), decoders.Fuse()]
        )
        tokenizer.post_processor = start
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **special)


class ToyConfig(PretrainedConfig):
    model_type = "ivclaims_toy"

    def __init__(self, rule: str = "sum", **options: Any) -> None:
        super().__init__(**options)
        self.rule, self.hidden_size, self.vocab_size = rule, 4, VOCAB


class _ToyBlock(torch.nn.Module):
    """The last position reads the first one: block 1 its coordinate 0, block 2 its coordinate 1.

    `sum`: both are added to the answer's coordinate 3. `product`: block 1 keeps what it read in
    coordinate 2, and block 2 adds the product of both to coordinate 3.
    """

    def __init__(self, index: int, rule: str) -> None:
        super().__init__()
        self.index, self.rule = index, rule

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        first, hidden = hidden[:, 0], hidden.clone()
        if self.index == 1:
            hidden[:, -1, 3 if self.rule == "sum" else 2] += first[:, 0]
        if self.index == 2:
            kept = 1.0 if self.rule == "sum" else hidden[:, -1, 2]
            hidden[:, -1, 3] += first[:, 1] * kept
        return hidden


class _ToyTrunk(torch.nn.Module):
    def __init__(self, rule: str) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([_ToyBlock(index, rule) for index in range(4)])


class ToyModel(PreTrainedModel, GenerationMixin):
    """A hand-set network whose logit of token 3 is the sum or product of two layers' writing."""

    config_class = ToyConfig
    _tied_weights_keys: ClassVar[dict[str, str]] = {}

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config)
        self.embedding = torch.nn.Embedding(VOCAB, 4)
        self.embedding.weight.data.zero_()
        self.model = _ToyTrunk(config.rule)
        self.lm_head = torch.nn.Linear(4, VOCAB, bias=False)
        self.lm_head.weight.data.zero_()
        self.lm_head.weight.data[3, 3] = 1.0
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None: ...

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.embedding

    def forward(self, input_ids: torch.Tensor, **_: Any) -> CausalLMOutputWithPast:
        hidden = self.embedding(input_ids)
        for block in self.model.layers:
            hidden = block(hidden)
        return CausalLMOutputWithPast(logits=self.lm_head(hidden))


def toy_model(rule: str) -> TransformersModel:
    return wrap(ToyModel(ToyConfig(rule)).eval(), number_tokenizer())
