# The two commands of the README and what they are made of. `make` lists them.

# RocksDB takes minutes to compile: what is built is kept outside the checkout, and in one profile (release) for the
# tests, the demo and the benchmarks, so that it is compiled once.
CARGO_TARGET_DIR ?= $(HOME)/.cache/millstream/target
export CARGO_TARGET_DIR

# Flags of the demo, the benchmarks and the fault suite, as in: make demo ARGS="--events 10000"
ARGS ?=

# Always the whole workspace, narrowed by --bin: selecting a package would select other features of shared build
# dependencies, and with them a second RocksDB.
BUILD = cargo build --release --locked --workspace

.DEFAULT_GOAL := help
.PHONY: help demo millstream bench bench-operators bench-baseline faults oracle simulate fuzz test prerequisites fmt lint check-deploy check-dependencies

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1#\2/p' $(MAKEFILE_LIST) | awk -F'#' '{ printf "%-26s%s\n", $$1, $$2 }'

demo: prerequisites ## run the order and inventory example; flags in ARGS=".."
	$(BUILD) --bin order_inventory
	@exec "$(CARGO_TARGET_DIR)/release/order_inventory" $(ARGS)

millstream: prerequisites ## the command line: reset, lag, topology, query, state; arguments in ARGS=".."
	$(BUILD) --bin millstream
	@exec "$(CARGO_TARGET_DIR)/release/millstream" $(ARGS)

bench: ## against Kafka Streams and the raw limit on a real Kafka; flags in ARGS="..", such as --quick
	scripts/prerequisites.sh test
	$(BUILD) --bin millstream-bench
	@exec "$(CARGO_TARGET_DIR)/release/millstream-bench" $(ARGS)

bench-operators: prerequisites ## time per record of the operators, without Kafka; criterion's flags in ARGS=".."
	cargo bench --locked --workspace --bench operator_chain -- $(ARGS)

bench-baseline: ## accept what the engine costs now, in benchmarks/instructions.json
	scripts/prerequisites.sh test
	MILLSTREAM_ACCEPT_INSTRUCTIONS=yes cargo test --release --locked --workspace --test instructions

faults: ## the fault suite: crashes, broken networks, stopped brokers; flags in ARGS="--faults 50 --seed 7"
	scripts/prerequisites.sh test
	$(BUILD) --bin faults --bin fault-worker
	@exec "$(CARGO_TARGET_DIR)/release/faults" $(ARGS)

oracle: ## the same programs through Kafka Streams and through millstream; flags in ARGS="--cases 500 --seed 7"
	scripts/prerequisites.sh test
	$(BUILD) --bin oracle
	@exec "$(CARGO_TARGET_DIR)/release/oracle" $(ARGS)

simulate: prerequisites ## schedules of the simulation: SEEDS=100000, or again the one that failed: SEED=390
	MILLSTREAM_SIMULATION_SEEDS=$(SEEDS) MILLSTREAM_SIMULATION_SEED=$(SEED) \
		cargo test --release --locked --workspace --lib -- --nocapture simulation::tests::every_schedule

fuzz: prerequisites ## bytes that nobody wrote into every decoder: CASES=2500
	PROPTEST_CASES=$(or $(CASES),2500) cargo test --release --locked --workspace --lib --bin millstream -- arbitrary

# In one recipe, so that the order holds under -j too: cheap checks first, cargo test's own result lines last.
test: ## everything CI checks
	scripts/prerequisites.sh test
	scripts/check-deploy.sh
	cargo fmt --all --check
	scripts/check-dependencies.sh
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	cargo test --release --locked --workspace

prerequisites: ## check, and install where possible, what the build needs from the system
	@scripts/prerequisites.sh build

fmt: ## format the code
	cargo fmt --all

lint: prerequisites ## the formatter and clippy, without the tests
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings

check-deploy: ## docker-compose.yml, Prometheus' configuration and its alerts
	scripts/check-deploy.sh

check-dependencies: ## licences, banned crates, sources, advisories (cargo-deny)
	scripts/check-dependencies.sh
