# Rekam: what a newcomer types. 'make help' lists it all.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export NUMBA_CACHE_DIR ?= $(CURDIR)/$(VENV)/numba-cache
export PYTHONPATH := $(CURDIR)
# Thread pools below numba and OpenCV would fight over the two cores of a unit.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
FINGERS ?=
SEED ?= 1

DEB := $(VENV)/deb
.PHONY: help demo run deb test test-arm test-deb check bench bench-unit fault fuzz fleet fleet-1000 ninety-days firmware link quality-model clean lock

help: ## list these targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | sort | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/system.stamp: provisioning/system_packages.sh
	@PYTHON=$(PYTHON) bash provisioning/system_packages.sh runtime
	@mkdir -p $(VENV) && touch $@

$(VENV)/runtime.stamp: requirements.lock $(VENV)/system.stamp
	@bash provisioning/make_venv.sh $(PYTHON) $(VENV) requirements.lock
	@touch $@

# The kernels are compiled at install, not at the first citizen.
$(VENV)/warm.stamp: $(VENV)/runtime.stamp $(wildcard edge/matcher_lite/*.py virtual/finger_*.py)
	@$(BIN)/python -m edge.matcher_lite warm
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/runtime.stamp
	@PYTHON=$(PYTHON) bash provisioning/system_packages.sh development
	@bash provisioning/make_venv.sh $(PYTHON) $(VENV) requirements-dev.lock
	@touch $@

# MicroPython's stubs must not lie among CPython's packages: each port has a folder of its own.
firmware/typings/%/stamp: firmware/typings_%.lock $(VENV)/dev.stamp
	@rm -rf firmware/typings/$* && $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --target firmware/typings/$* -r $<
	@touch $@

demo: $(VENV)/warm.stamp ## one resident after another from capture to card in hand; report in out/demo (FINGERS=DIR for real prints)
	@$(BIN)/python -m virtual.demo --out out/demo --seed $(SEED) $(if $(FINGERS),--fingers "$(FINGERS)")

run: $(VENV)/warm.stamp ## the demo's world left running, with the addresses of its pages
	@$(BIN)/python -m virtual.demo --out out/run --seed $(SEED) --stay $(if $(FINGERS),--fingers "$(FINGERS)")

test: check $(VENV)/warm.stamp ## everything CI runs
	@eatmydata $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder --ignore tests/test_tidy.py

test-arm: $(VENV)/dev.stamp ## matcher_lite's unit tests under aarch64 by QEMU, and both machines' templates compared (root)
	@PYTHON=$(BIN)/python bash tests/arm/run.sh $(VENV)/arm64

deb: $(VENV)/dev.stamp ## the unit's Debian package in out/ (ARCH=amd64 for a PC), with its wheels for a release
	@$(BIN)/python -m provisioning.unit_package --architecture $(or $(ARCH),arm64) --out out --cache $(DEB)

test-deb: $(VENV)/dev.stamp ## that package installed under aarch64 by QEMU and used there (ARCH=amd64: booted as well; root)
	@PYTHON=$(BIN)/python bash tests/package/run.sh $(or $(ARCH),arm64) $(DEB)

check: $(VENV)/dev.stamp firmware/typings/rp2/stamp firmware/typings/esp32/stamp ## ruff, mypy strict and the tidy rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy --config-file firmware/mypy_rp2.ini
	@$(BIN)/mypy --config-file firmware/mypy_esp32.ini
	@$(BIN)/python -m pytest -q tests/test_tidy.py

bench: $(VENV)/dev.stamp ## sealed-to-receipt figures of the transfer over TLS
	@$(BIN)/python -m tests.bench.transfer --out out/bench

bench-unit: $(VENV)/dev.stamp $(VENV)/warm.stamp ## a capture unit's idle cost, live picture and finger transfer
	@$(BIN)/python -m tests.bench.unit --out out/bench-unit

ROUNDS ?= 10
fuzz: $(VENV)/dev.stamp $(VENV)/warm.stamp ## garbage at every door, drawn anew in ROUNDS rounds from SEED on; make test draws the same each time
	@set -e; for seed in $$(seq $(SEED) $$(( $(SEED) + $(ROUNDS) - 1 ))); do echo "round with seed $$seed"; \
	$(BIN)/python -m pytest -n 2 -m hypothesis --hypothesis-profile=anew --hypothesis-seed=$$seed; done

fault: $(VENV)/dev.stamp ## 1,000 packets under kill -9 of unit, hub and broker; power cuts at every write
	@$(BIN)/python -m tests.fault.campaign --out out/fault --seed $(SEED)

updates: $(VENV)/dev.stamp ## releases to a unit through launcher, slots and hub: good, crashing, unwell; kill -9 at every megabyte and step
	@$(BIN)/python -m tests.updates.campaign --out out/updates
	@$(BIN)/python -m tests.updates.killed --out out/updates-killed

firmware: check ## the controller's firmware for both ports, compiled, with sizes and digests, in build/firmware
	@$(BIN)/python -m provisioning.firmware_image --out build/firmware

link: $(VENV)/dev.stamp ## 1,000,000 frames of the controller's link in virtual time and 5,000 over a pty, on bad lines
	@$(BIN)/python -m tests.fault.link_campaign --out out/link --seed $(SEED)

QUALITY := out/quality
quality-model: $(VENV)/warm.stamp ## learn the finger quality model again from synthetic prints, in a venv of its own
	@[ -x $(QUALITY)/venv/bin/python ] || $(PYTHON) -m venv $(QUALITY)/venv
	@$(QUALITY)/venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r virtual/quality_model.lock
	@$(BIN)/python -m virtual.finger_quality_samples --out $(QUALITY)/samples.npz --jobs 2
	@set -e; for time in first second; do $(QUALITY)/venv/bin/python -m virtual.finger_quality_train $(QUALITY)/samples.npz $(QUALITY)/$$time.tflite; done
	@cmp $(QUALITY)/first.tflite $(QUALITY)/second.tflite
	@cp $(QUALITY)/first.tflite edge/matcher_lite/finger_quality.tflite

fleet: $(VENV)/dev.stamp ## 20 boxes into service at once, live sessions revoked: seconds, over a real broker
	@$(BIN)/python -m tests.commissioning.fleet --out out/fleet --seed $(SEED)

fleet-1000: $(VENV)/dev.stamp ## 1,000 simulated units on one broker and hub, which die and come back: seconds, memory, CPU
	@$(BIN)/python -m tests.fleet.thousand --out out/fleet-1000

ninety-days: $(VENV)/dev.stamp ## 90 days of certificates and revocation lists on a faked wall clock: who was locked out, and a picture
	@$(BIN)/python -m tests.fleet.ninety_days --out out/ninety-days

lock: ## resolve the lock files again (needs uv)
	uv pip compile pyproject.toml provisioning/build.in --extra edge --extra hub --extra provision --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements.lock
	uv pip compile pyproject.toml provisioning/build.in --extra edge --extra hub --extra provision --extra dev -c requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements-dev.lock
	uv pip compile pyproject.toml --extra edge --extra pi -c requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -q -o provisioning/unit_package/unit.lock
	for port in rp2 esp32; do uv pip compile firmware/typings_$$port.in --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -q -o firmware/typings_$$port.lock; done
	uv pip compile virtual/quality_model.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -q -o virtual/quality_model.lock

clean: ## remove what was built and run; the virtual environment stays unless ALL=1
	@rm -rf out build *.egg-info .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
	@$(if $(ALL),rm -rf $(VENV))
