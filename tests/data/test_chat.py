"""Prompts inside chat templates, against what the template and the tokenizer say by themselves."""

import copy
import functools
import shlex
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from ivevidence import Store, read_evidence
from ivfixtures.checkpoints.resolving import resolve
from ivfixtures.data.instructed import InstructedData
from ivfixtures.data.tasks import load_tasks
from ivfixtures.measuring.measurements import model_of
from ivmethods.errors import PromptError
from ivmethods.model.recording import record
from ivmethods.probes.methods import InstructionResiduals
from ivmethods.prompts import chat
from ivmethods.prompts.chat import chat_of, framed, template_of
from ivmethods.prompts.protocols import last_token, token_texts, tokenize_sample, tokenize_source
from tests.measured import Measured
from tests.models import text_tokenizer
from tests.running import OPTIONS, PACK, has_traceback, printed, saved

TURN = "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
SYSTEMS = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe kind.\n' }}{% endif %}"
)
CHATML = (
    SYSTEMS + "{% for m in messages %}" + TURN + "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start|>' + m['role'] + '<|end|>\n\n' }}"
    "{{ m['content'] | trim }}{{ '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant<|end|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}"
    "{{ '<turn>' + ('model' if m['role'] == 'assistant' else 'user') + '\n' }}"
    "{{ m['content'] | trim + '<turn_end>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<turn>model\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set s = messages[0]['content'] %}"
    "{% set messages = messages[1:] %}{% endif %}{% for m in messages %}"
    "{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + (s + '\n\n' if s and loop.last else '') + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
THINKING = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' + m['content'] + '<|im_end|>\n' }}"
    "{% else %}" + TURN + "{% endif %}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% if enable_thinking is defined and not enable_thinking %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
PLAIN = "{% for m in messages %}{{ 'person:' if m['role'] == 'user' else 'robot:' }}"
PLAIN += "{{ m['content'] + '\n' }}{% endfor %}"
TEMPLATES = {
    "chatml": CHATML, "llama": LLAMA, "gemma": GEMMA, "mistral": MISTRAL, "thinking": THINKING,
}  # fmt: skip
WRITES_BOS = ("llama", "gemma", "mistral")
KINDS = ("byte", "byte_bos", "byte_eos", "metaspace", "no_bos")
INSTRUCTION = "Given an adjective, state its antonym."
PAPER = "instruction_vectors"
NO_THOUGHTS = {"enable_thinking": False}

every_template = pytest.mark.parametrize("name", TEMPLATES)
few = settings(max_examples=8)
every_kind = pytest.mark.parametrize("kind", KINDS)
odd = st.text(
    st.characters(codec="utf-8") | st.sampled_from("{}%<>|[]/\\\"'\n\t 🦊éß漢\u0301\u200d"),
    max_size=12,
)
words = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=9)


@functools.cache
def chatting(kind, template):
    """A tokenizer of one kind with a chat template, one of ours or its text."""
    tokenizer = copy.deepcopy(text_tokenizer(kind))
    if kind == "metaspace":
        tokenizer.add_tokens(["\n"])  # as Gemma's tokenizer has it
    tokenizer.chat_template = TEMPLATES.get(template, template)
    return tokenizer


def user(text):
    return [{"role": "user", "content": text}]


def rendered(tokenizer, messages, **options):
    return tokenizer.apply_chat_template(messages, tokenize=False, **NO_THOUGHTS, **options)


def tokenized(tokenizer, instruction=INSTRUCTION, query="big", answer="small", **options):
    system = options.pop("system", None)
    return tokenize_sample(
        tokenizer,
        query=query,
        instruction=instruction,
        prompt=f"Adjective: {query}. Answer:",
        answer=answer,
        contrast=options.pop("contrast", "bigger"),
        chat=chat_of(tokenizer, system=system),
        **options,
    )


@st.composite
def instructions(draw, kind):
    """Odd texts, ending in a character that the tokenizer knows and does not merge."""
    endings = ".:" if kind == "metaspace" else ".:?!🦊é漢”"
    text = draw(odd).lstrip() + draw(st.sampled_from(endings))
    return text.replace("<s>", "").replace("</s>", "").replace("<pad>", "")


# ------------------------------------------------------------------------- runs and their positions


@every_template
@every_kind
@few
@given(data=st.data(), query=words)
def test_positions_are_those_that_offsets_in_the_rendered_chat_give(name, kind, data, query):
    tokenizer = chatting(kind, name)
    instruction = data.draw(instructions(kind))
    sample = tokenized(tokenizer, instruction, query)

    # Slow and obvious: the chat as transformers renders it, and every token's characters.
    message = f"{instruction} Adjective: {query}. Answer:"
    text = rendered(tokenizer, user(message), add_generation_prompt=True)
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    first = text.rindex(message)
    last = first + len(instruction) - 1
    held = [
        i
        for i, (start, end) in enumerate(encoding["offset_mapping"])
        if any(first <= at <= last for at in range(start, end))
    ]
    assert sample.instructed == tuple(encoding["input_ids"])
    assert sample.t_inst == held[-1]
    assert encoding["offset_mapping"][sample.t_inst][1] == last + 1
    assert sample.site == held[0]

    # The target run is the instructed run with one token for those of the instruction.
    assert sample.target[: sample.site] == sample.instructed[: sample.site]
    assert sample.target[sample.site + 1 :] == sample.instructed[sample.t_inst + 1 :]
    from_right = len(sample.instructed) - sample.t_inst
    assert len(sample.target) - sample.site == from_right
    assert sample.target[sample.site] in {0, 1, 2}

    # The source run is the instructed run up to T_inst.
    source = tokenize_source(tokenizer, instruction, chat=chat_of(tokenizer))
    assert source.ids == sample.instructed[: sample.t_inst + 1]
    assert (source.start, source.position) == (sample.site, sample.t_inst)
    found = last_token(tokenizer, message, instruction, chat=chat_of(tokenizer))
    assert found == sample.t_inst


@every_template
@every_kind
def test_bos_is_there_once_where_the_template_writes_it_and_else_never(name, kind):
    tokenizer = chatting(kind, name)
    sample, once = tokenized(tokenizer), name in WRITES_BOS and kind != "no_bos"
    assert sample.instructed.count(1) == once
    assert sample.instructed[:1].count(1) == once
    # The filler is the first of BOS, EOS, pad that the chat does not hold.
    expected = 2 if once or kind == "no_bos" else 1
    assert sample.target[sample.site] == expected
    assert sample.target.count(expected) == 1


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name != "mistral"])
@pytest.mark.parametrize("kind", ["byte", "byte_bos", "byte_eos", "no_bos"])
@few
@given(query=words)
def test_the_target_run_is_the_chat_of_the_fillers_text(name, kind, query):
    tokenizer = chatting(kind, name)
    sample = tokenized(tokenizer, query=query)
    filler = tokenizer.convert_ids_to_tokens(sample.target[sample.site])
    ids = tokenizer.apply_chat_template(
        user(f"{filler} Adjective: {query}. Answer:"), add_generation_prompt=True, **NO_THOUGHTS
    )["input_ids"]
    assert sample.target == tuple(ids)


def test_a_filler_that_every_chat_holds_is_taken_all_the_same():
    holding = "{{ '<s></s><pad>' }}" + CHATML
    sample = tokenized(chatting("byte", holding))
    assert sample.target[sample.site] == 1


@every_template
@every_kind
@few
@given(answer=st.text("abegilmnorst", min_size=1, max_size=9))  # that all tokenizers know
def test_the_answer_is_tokenized_where_the_template_writes_answers(name, kind, answer):
    tokenizer = chatting(kind, name)
    sample = tokenized(tokenizer, answer=answer, contrast=None)
    message = f"{INSTRUCTION} Adjective: big. Answer:"
    text = rendered(tokenizer, [*user(message), {"role": "assistant", "content": answer}])
    head = rendered(tokenizer, user(message), add_generation_prompt=True)
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, at = encoding["input_ids"], text.index(answer, len(head))
    assert tuple(ids[: len(sample.instructed)]) == sample.instructed
    assert ids[len(sample.instructed)] == sample.answer
    # With the space before it, where that is a token of its own.
    between = text[encoding["offset_mapping"][len(sample.instructed)][0] : at]
    assert between in ("", " ")


def test_an_answer_has_the_space_that_its_template_gives_it():
    for name, text in (("chatml", "small"), ("mistral", " small")):
        tokenizer = chatting("byte", name)
        first = tokenizer(text, add_special_tokens=False)["input_ids"][0]
        assert tokenized(tokenizer).answer == first


def test_an_answer_that_merges_with_the_generation_prompt_is_refused_by_name():
    tokenizer = chatting("byte", PLAIN.replace("robot:", "robot: smal"))
    with pytest.raises(ValueError, match=r"answer='l', but should be tokens after.*sample 'big'"):
        tokenized(tokenizer, answer="l", contrast=None)


@pytest.mark.parametrize("name", ["llama", "gemma"])
@pytest.mark.parametrize("instruction", ["  " + INSTRUCTION, "\n" + INSTRUCTION])
def test_a_template_that_strips_the_message_shifts_no_position(name, instruction):
    tokenizer = chatting("byte", name)
    sample, plain = tokenized(tokenizer, instruction), tokenized(tokenizer)
    assert (sample.t_inst, sample.site) == (plain.t_inst, plain.site)
    for text in (instruction, instruction + "  ", INSTRUCTION):
        source = tokenize_source(tokenizer, text, chat=chat_of(tokenizer))
        assert source.ids == plain.instructed[: plain.t_inst + 1]


def test_released_runs_know_no_chat():
    tokenizer = chatting("byte_bos", "llama")
    options = {"query": "big", "instruction": INSTRUCTION, "prompt": "Adjective: big. Answer:"}
    options |= {"answer": "small", "contrast": "bigger", "protocol": "released"}
    plain = tokenize_sample(text_tokenizer("byte_bos"), **options)
    assert tokenize_sample(tokenizer, **options, chat=chat_of(tokenizer)) == plain


def test_a_first_token_shared_with_the_template_is_refused():
    tokenizer = chatting("byte", PLAIN.replace("'person:'", "'person: adjectiv'"))
    with pytest.raises(ValueError, match=r"token=.*adjective'.*without ' adjectiv'"):
        tokenized(tokenizer, instruction="e.")


# ------------------------------------------------------------------------------------- the template


@every_template
def test_a_chat_without_a_message_is_put_together_again(name):
    tokenizer = chatting("byte", name)
    chat = chat_of(tokenizer)
    text = rendered(tokenizer, user("Who?"), add_generation_prompt=True)
    assert framed(tokenizer, chat, "Who?").text == text == chat.before + "Who?" + chat.after
    assert chat.before + "x" != chat.before + "y"


@pytest.mark.parametrize("name", ["chatml", "llama", "mistral", "thinking"])
def test_a_system_prompt_stands_before_the_message(name):
    tokenizer = chatting("byte", name)
    plain, chat = chat_of(tokenizer), chat_of(tokenizer, system="One word.")
    assert chat.before.count("One word.") == 1
    assert "One word." not in plain.before
    assert chat.digest != plain.digest
    assert chat.template_digest == plain.template_digest
    sample = tokenized(tokenizer, system="One word.")
    assert token_texts(tokenizer, sample.instructed)[sample.t_inst] == "."
    assert "One word." in tokenizer.decode(sample.instructed[: sample.site])


def test_an_empty_system_prompt_takes_the_place_of_the_templates_own():
    tokenizer = chatting("byte", "chatml")
    assert "Be kind." in chat_of(tokenizer).before
    assert "Be kind." not in chat_of(tokenizer, system="").before


def test_thoughts_are_switched_off_where_the_template_has_a_switch():
    tokenizer = chatting("byte", "thinking")
    assert chat_of(tokenizer).generation.endswith("<think>\n\n</think>\n\n")


def test_a_block_of_thoughts_is_closed_as_the_template_closes_it():
    opened = THINKING.replace("{% if enable_thinking is defined and not enable_thinking %}", "")
    opened = opened.replace("{{ '<think>\n\n</think>\n\n' }}{% endif %}", "{{ '<think>\n' }}")
    chat = chat_of(chatting("byte", opened))
    assert chat.generation.endswith("<think>\n")
    assert chat.after.endswith("assistant\n<think>\n\n</think>\n\n")


def test_a_closed_block_that_answers_of_the_past_do_not_have_is_taken():
    past = THINKING.replace("assistant\n<think>\n\n</think>\n\n' + m", "assistant\n' + m")
    assert past != THINKING
    chat = chat_of(chatting("byte", past))
    assert chat.after.endswith("<think>\n\n</think>\n\n")


def test_a_template_without_generation_prompt_is_completed_by_its_answers():
    chat = chat_of(chatting("byte", PLAIN))
    assert (chat.before, chat.after) == ("person:", "\nrobot:")


def test_spaces_before_the_answer_go_with_it():
    spaced = PLAIN.replace("robot:", "robot: ")
    spaced += "{% if add_generation_prompt %}{{ 'robot: ' }}{% endif %}"
    tokenizer = chatting("byte", spaced)
    chat = chat_of(tokenizer)
    assert (chat.after, chat.space) == ("\nrobot:", " ")
    assert tokenizer.decode([tokenized(tokenizer).answer]) == " small"


def test_the_date_is_always_the_same():
    dated = "{{ 'Today is ' + strftime_now('%Y-%m-%d') + '\n' }}" + CHATML
    assert chat_of(chatting("byte", dated)).before.startswith("Today is 26 Jul 2024\n")


def test_of_several_templates_the_default_one_is_taken():
    tokenizer = copy.deepcopy(text_tokenizer("byte"))
    tokenizer.chat_template = {"default": CHATML, "tool_use": LLAMA}
    assert template_of(tokenizer) == chat_of(tokenizer).template == CHATML
    tokenizer.chat_template = {"rag": CHATML, "tool_use": LLAMA}
    with pytest.raises(ValueError, match=r"templates=rag, tool_use, but should be one called"):
        template_of(tokenizer)
    tokenizer.chat_template = {"default": [CHATML]}
    with pytest.raises(ValueError, match=r"template=\[.*, but should be text"):
        template_of(tokenizer)


@pytest.mark.parametrize(
    ("template", "system", "line"),
    [
        (GEMMA, "x", r"rendering=TemplateError: System role not supported, but should be.*system"),
        (
            MISTRAL.replace("s + '\n\n'", "''"),
            "x",
            r"system prompt=left out, but should be written",
        ),
        ("{% if %}", None, r"rendering=TemplateSyntaxError: "),
        (
            "{{ raise_exception('One.\nTwo.') }}",
            None,
            r"rendering=TemplateError: One\., but should",
        ),
        ("{{ 1 / 0 }}", None, r"rendering=ZeroDivisionError: "),
        ("{{ ''.__class__.__mro__ }}", None, r"rendering=SecurityError: "),
        ("{% for i in range(999999) %}{% endfor %}", None, r"rendering=OverflowError: "),
        ("no messages", None, r"user messages=0, but should be 1"),
        (CHATML + CHATML, None, r"user messages=2, but should be 1"),
        (CHATML.replace("m['content']", "m['content'] | upper"), None, r"user messages=0, but"),
        ("{{ messages[0]['content'] }}", None, r"answer messages=0, but should be 1"),
        (
            CHATML.replace("assistant\n'", "assistant\n<think>\n'"),
            None,
            r"generation prompt=.*think",
        ),
        (CHATML.replace("assistant\n'", "robot\n'"), None, r"generation prompt=.*robot"),
        (CHATML.replace("assistant\n'", "assistant\nSure.'"), None, r"generation prompt=.*Sure"),
        (5, None, r"template=5, but should be text"),
        ("{{ raise_exception('\x1b[2J') }}", None, r"rendering=TemplateError: \\x1b\[2J, but"),
        ("{{ '\\ud800' }}", None, r"rendering=UnicodeEncodeError: "),
        ("\ud800", None, r"rendering=UnicodeEncodeError: "),
        (None, None, r"template=None, but should be in the tokenizer's files"),
    ],
)
def test_a_template_that_cannot_be_used_is_one_line(template, system, line):
    with pytest.raises(ValueError, match=line) as raised:
        chat_of(chatting("byte", template), system=system)
    assert "--chat-template never" in str(raised.value)
    assert str(raised.value).isprintable()


def test_a_template_that_never_ends_is_one_line(monkeypatch):
    monkeypatch.setattr(chat, "RENDERING_SECONDS", 0.1)
    usual = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    try:
        with pytest.raises(PromptError, match=r"rendering=TimeoutError: over 0\.1 seconds, but"):
            chat_of(chatting("byte", CHATML + endless))
        assert signal.getsignal(signal.SIGALRM) is signal.SIG_IGN
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    finally:
        signal.signal(signal.SIGALRM, usual)


def test_templates_render_outside_the_main_thread_too():
    with ThreadPoolExecutor() as threads:
        assert threads.submit(chat_of, chatting("byte", CHATML)).result().before


def test_a_template_that_changes_with_the_message_is_refused():
    tokenizer = chatting("byte", "{% if 'big' in messages[0]['content'] %}!{% endif %}" + CHATML)
    with pytest.raises(ValueError, match=r"user message=changed, but should be '.*big.*unchanged"):
        tokenized(tokenizer)


# ------------------------------------------------------------------------ checkpoints and the suite


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint of random weights whose tokenizer has a chat template."""
    folder = saved("olmo2", tmp_path_factory.mktemp("chat"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder)
    return folder


def data_of(folder, task="can_fly", stage="unknown", plain_prompts=False, **changed):
    checkpoint = replace(resolve(str(folder)), stage=stage, plain_prompts=plain_prompts)
    settings = replace(OPTIONS, **{"samples": 6, "chat_template": "auto"} | changed)
    return InstructedData(checkpoint, load_tasks()[task], settings)


def test_auto_passes_over_a_template_that_the_checkpoint_was_tuned_without(folder):
    assert data_of(folder, stage="sft", plain_prompts=True).chat is None
    always = data_of(folder, stage="sft", plain_prompts=True, chat_template="always")
    assert always.chat is not None


@pytest.mark.parametrize("stage", ["sft", "dpo", "instruct", "unknown", "base"])
def test_auto_takes_the_template_of_all_but_base_checkpoints(folder, stage):
    assert (data_of(folder, stage=stage).chat is None) == (stage == "base")
    assert data_of(folder, stage=stage, chat_template="always").chat is not None
    assert data_of(folder, stage=stage, chat_template="never").chat is None


def test_embedded_checkpoints_are_prompted_as_ever():
    found = data_of("tiny-olmo2-sft", stage="sft")
    assert found.chat is None
    assert found.notes == ()
    assert found.digests.keys() == {"weights", "tokenizer"}
    assert found.source()[0] == tokenize_source(found.tokenizer, found.task.instruction)
    with pytest.raises(ValueError, match=r"^tiny-olmo2-sft: template=None, but should be"):
        _ = data_of("tiny-olmo2-sft", stage="sft", chat_template="always").digests


def test_what_is_measured_depends_on_template_and_system_prompt(folder):
    plain, chat = data_of(folder, chat_template="never"), data_of(folder)
    told = data_of(folder, system_prompt="One word.")
    assert plain.digests.keys() == {"weights", "tokenizer"}
    assert chat.digests == {**plain.digests, "chat": chat.chat.digest}
    assert told.digests["chat"] != chat.digests["chat"]
    unused = data_of(folder, stage="base", system_prompt="One word.")
    assert unused.digests == plain.digests
    assert "--system-prompt was not used" in unused.notes[0]


def test_all_texts_of_a_task_stand_in_the_chat(folder):
    chat = data_of(folder, system_prompt="One word.")
    samples, head = chat.samples(), chat.chat.before
    for name in ("instruction", "contrast", "neutral"):
        for source in chat.source(name):
            assert chat.tokenizer.decode(source.ids) == head + source.text
            assert chat.tokenizer.decode(source.ids[source.start :]) == source.text
            assert source.start == samples[0].site
    sub = chat.position_of(chat.task.sub_instruction)
    assert samples[0].site < sub < samples[0].t_inst
    leading = chat.tokenizer.decode(samples[0].instructed[: sub + 1])
    assert leading == head + chat.task.sub_instruction
    plain = data_of(folder, chat_template="never")
    assert chat.source("instruction", "released") == plain.source("instruction", "released")
    assert chat.samples("released") == plain.samples("released")


def test_rephrasings_are_read_inside_the_chat(folder, tmp_path):
    data = data_of(folder, "adj_ant")
    texts = ("Name the opposite.", "State the antonym of it:")
    found = Measured(Store(tmp_path))(data, InstructionResiduals(texts))
    assert found.info["tokens"] == [".", ":"]
    model = model_of(data.checkpoint, "cpu", "float32")
    for i, text in enumerate(texts):
        ids = data.tokenizer(data.chat.before + text, add_special_tokens=False)["input_ids"]
        alone = record(model, tuple(ids), positions=[len(ids) - 1])[0]
        np.testing.assert_allclose(found.arrays["streams"][1:, i], alone, rtol=1e-4, atol=1e-5)


@pytest.fixture
def judged(pytester, folder, tasks):
    """Judge the chat checkpoint through the command line; its cells, and what was printed."""

    def run(*given, only=("claims.instruction_vectors.test_localization",)):
        result = pytester.runpytest_inprocess(
            *("--pyargs", *only, "--checkpoint", str(folder), "--tasks", str(tasks)),
            *("--samples", "4", "--set", f"{PAPER}.orders=1", "-k", "adj_ant", "--measure-anyway"),
            *("--xfail-refuted", "-p", "no:cacheprovider", *given),
        )
        found = read_evidence(pytester.path / "reports" / "claims.evidence.json")
        assert not found.errors
        return found.cells, printed(result)

    return run


def test_each_mode_judges_the_prompts_that_it_names(judged):
    prompts, measurements = {}, {}
    for mode in ("auto", "never", "always"):
        (cell,), text = judged("--chat-template", mode)
        prompts[mode] = "".join(cell.prompts[0].tokens)
        measurements[mode] = cell.measurements
        used = mode != "never"
        assert ("nothing measured again" in text) == (mode == "always")
        assert (cell.parameters["chat template"] is not None) == used
        assert any("chat template" in note for note in cell.notes) == used
        assert ("chat" in cell.provenance) == used
        assert f"--chat-template {mode}" in cell.command
        # The controls are the instruction's own positions, and no others of the chat.
        bars = next(figure.data for figure in cell.figures if figure.kind == "bars")
        assert "".join(bars["categories"]).replace("·", " ") == INSTRUCTION
        assert bars["marks"] == {str(len(bars["categories"]) - 1): "T_inst"}
        prompt = cell.prompts[0]
        marks = prompt.marks
        assert prompt.answer.startswith(prompt.token.strip())
        assert prompt.token.strip()
        assert [marks[at] for at in sorted(marks, key=int)] == ["T_inst", "T_last"]
    assert prompts["never"].startswith(INSTRUCTION)
    assert prompts["auto"].startswith(
        f"<|im_start|>system\nBe kind.\n<|im_start|>user\n{INSTRUCTION}"
    )
    assert prompts["auto"].endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert measurements["auto"] == measurements["always"]
    assert not {*measurements["auto"].values()} & {*measurements["never"].values()}


def test_claims_can_be_judged_in_a_chat_and_again_by_its_command(judged, pytester):
    names = ("behaviour", "localization", "tinst_path_dominance")
    only = [f"{PACK}.test_{name}" for name in names]
    cells, _ = judged("--system-prompt=--brief", "--set", f"{PAPER}.path_k=1", only=only)
    assert {cell.claim.name for cell in cells} == {f"instruction_vectors/{n}" for n in names}
    assert all(cell.parameters["system prompt"] == "--brief" for cell in cells)
    cell = next(cell for cell in cells if cell.claim.name == "instruction_vectors/localization")
    pytester.runpytest_inprocess(*shlex.split(cell.command)[1:], "-p", "no:cacheprovider")
    (again,) = read_evidence(pytester.path / "reports" / "claims.evidence.json").cells
    assert again.measurements == cell.measurements


def test_expectations_know_how_checkpoints_were_prompted(judged, pytester, folder, tasks):
    judged("--write-expect", "expected.json")
    result = pytester.runpytest_inprocess(
        *("--pyargs", "claims.instruction_vectors.test_localization", "--checkpoint", str(folder)),
        *(
            "--tasks",
            str(tasks),
            "--samples",
            "4",
            "--set",
            f"{PAPER}.orders=1",
            "--measure-anyway",
        ),
        *("--expect", "expected.json", "--chat-template", "never", "-p", "no:cacheprovider"),
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--chat-template=never, but should be auto*"])


def test_a_system_prompt_without_chats_is_refused_before_anything_is_loaded(judge):
    result = judge("--chat-template", "never", "--system-prompt", "One word.")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--system-prompt='One word.', but should be left out*"])


def test_always_without_a_template_is_an_error_of_one_line(judge, pytester):
    result = judge("--chat-template", "always", "-k", "adj_ant and localization")
    assert not has_traceback(result)
    (error,) = read_evidence(pytester.path / "reports" / "claims.evidence.json").errors
    assert "template=None, but should be in the tokenizer's files" in error.message


def test_what_a_template_says_reaches_no_terminal_as_it_is(pytester, folder, tasks):
    copied = Path(shutil.copytree(folder, pytester.path / "hostile"))
    (copied / "chat_template.jinja").write_text("{{ raise_exception('\x1b[2JAll is well') }}")
    result = pytester.runpytest_inprocess(
        *(
            "--pyargs",
            "claims.instruction_vectors.test_behaviour",
            "--checkpoint",
            str(copied),
            "-k",
            "adj_ant",
        ),
        *("--tasks", str(tasks), "--samples", "4", "-p", "no:cacheprovider"),
    )
    (error,) = read_evidence(pytester.path / "reports" / "claims.evidence.json").errors
    assert "hostile: rendering=TemplateError: \\x1b[2JAll is well, but" in error.message
    assert len(error.message.splitlines()) == 1
    assert "\x1b[2J" not in printed(result)
    assert "Traceback" not in printed(result)
    assert "ivmethods" not in printed(result)
