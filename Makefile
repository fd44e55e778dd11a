# Two commands are all a newcomer needs: `make demo` and `make test`. Each sets up what it needs by itself.
SHELL := /bin/bash
PYTHON ?= $(shell command -v /usr/bin/python3.11 || command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
TOOLS := packaging/attack
ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup setup-test setup-attack demo test attack bench soak trace lint fix lock wheels clean

help: ## この一覧を表示する
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */\1\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(VENV)/.run ## 動かすために必要なものを用意する（.venv と Debian パッケージ）

setup-test: $(VENV)/.test

$(VENV)/.run: requirements.lock pyproject.toml packaging/debian-packages.txt packaging/install-debian-packages
	@packaging/install-debian-packages run
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Python パッケージを用意しています（固定版・ハッシュ検査つき）…"
	@$(BIN)/python -m pip install -qq --require-hashes -r requirements.lock
	@$(BIN)/python -c 'import django, polars, typst, psycopg'
	@packaging/link-checkout $(BIN)/python
	@touch $@

$(VENV)/.test: $(VENV)/.run requirements-dev.lock
	@packaging/install-debian-packages test
	@$(BIN)/python -m pip install -qq --require-hashes -r requirements-dev.lock
	@$(BIN)/python -c 'import pytest, hypothesis, playwright'
	@touch $@

setup-attack: $(VENV)/.attack

# Tools that judge from outside: kept out of the product's and the tests' environment.
$(VENV)/.attack: $(VENV)/.test $(TOOLS)/requirements.lock $(TOOLS)/package-lock.json
	@packaging/install-debian-packages attack
	@command -v npm >/dev/null || packaging/install-debian-packages node
	@test -x $(TOOLS)/.venv/bin/python || $(PYTHON) -m venv $(TOOLS)/.venv
	@$(TOOLS)/.venv/bin/python -m pip install -qq --require-hashes -r $(TOOLS)/requirements.lock
	@cd $(TOOLS) && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

demo: setup ## 町一つ分のデータを送り、三種類の証明書を発行し、復旧まで見せる（ARGS=--check で確認だけして終わる）
	@$(BIN)/bcl world demo $(ARGS)

test: setup-test ## すべての試験を行う
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest -q $(ARGS)
	@$(BIN)/python -m pytest -q -c tests/journeys/pytest.ini --confcutdir tests/journeys tests/journeys

attack: setup-attack ## 攻撃の道具（sqlmap・schemathesis・総当たりの歩き回り）と画面の検査（Lighthouse・Nu）を動かす
	@$(BIN)/python -m pytest -q -s -c tests/attack/pytest.ini --confcutdir tests/attack tests/attack $(ARGS)

bench: setup-test ## 性能を測り、同じ実行の中の比較相手との比を表示する
	@$(BIN)/bcl bench all $(ARGS)

soak: setup-test ## 長い試験（強制終了・通信断の繰り返し）を台帳（var/soak）つきで続ける。止めたところから続く
	@BCL_SOAK_DIR=$(CURDIR)/var/soak BCL_CUTS=1000 BCL_CRASH_POINTS=0 $(BIN)/python -m pytest -q --timeout 20000 tests/contract/test_tus/test_soak_cuts.py tests/contract/test_tus/test_soak_crashes.py tests/contract/test_tus/test_transfer_ways.py $(ARGS)
	@BCL_LARGE_TOWN=1000000 BCL_KILL_CYCLES=1000 BCL_KILL_SEED=$$RANDOM $(BIN)/python -m pytest -q -c tests/journeys/pytest.ini --confcutdir tests/journeys --timeout 10000 -s tests/journeys/test_kills.py tests/journeys/test_three_towns.py $(ARGS)
	@mkdir -p var/soak
	@BCL_BACKUP_FLIPS=100 BCL_BACKUP_LEDGER=var/soak/backup-flips.jsonl BCL_EVENT_PROBES=10000 $(BIN)/python -m pytest -q --timeout 10000 tests/app/backup/test_drill.py tests/app/resident_store/test_event_dates.py

trace: setup-test ## 要件番号と試験の対応を表示する
	@$(BIN)/python scripts/trace.py $(ARGS)

lint: setup-test ## 書き方・依存の向きを検査する
	@$(BIN)/ruff check src tests bench scripts examples
	@PYTHONPATH=src $(BIN)/lint-imports --no-cache

fix: setup-test ## 書き方を自動で直す
	@$(BIN)/ruff check --fix src tests bench scripts examples
	@$(BIN)/ruff format src tests bench scripts examples

lock: setup-test ## 依存の固定版を作り直す
	@$(BIN)/uv pip compile -q --generate-hashes --universal --no-header --no-annotate --python-version 3.11 pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile -q --generate-hashes --universal --no-header --no-annotate --python-version 3.11 --extra dev pyproject.toml -o requirements-dev.lock
	@$(BIN)/uv pip compile -q --generate-hashes --universal --no-header --no-annotate --python-version 3.11 $(TOOLS)/requirements.txt -o $(TOOLS)/requirements.lock

wheels: setup-test ## 配布物を二つ作る（bcl と bcl-gateway）
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation -w dist .
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation -w dist ./packaging/bcl-gateway

clean: ## 作ったもの（.venv など）を消す
	@rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
