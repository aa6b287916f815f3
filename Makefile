# Everything runs from the virtual environment in .venv; each target sets up what it needs.
#
#   QUICK=1                      with little data (demo)
#   ENGINE=mysql|redis|mongodb   one engine instead of all (demo, images, soak)
#   ROUNDS=100 SEED=7            how many faults, and which (soak)
#   CLIENTS=1000 ROUNDS=5        how many connections, and how many kills (crowd)
#   SERVICES=150                 how many services (many, scrape)
#   HOSTS=3 SECONDS=800          on so many hosts, made on this machine, and no longer (soak)
#   INSTANCES=3 DURABILITY=strict  of the soak's service (MySQL, Redis)
#   SECONDS=600 SEED=7           how long to search, and where to begin (simulate)
#   ARGS=...                     further arguments for pytest (test)
#   WORKERS=2                    so many test files at a time (test)

.DEFAULT_GOAL := help
.PHONY: help demo demo-hosts test scenarios check openapi simulate bench bench-hosts address hooks scrape crowd many proxies sysbench soak \
    images docker sysbenchprogram composeprogram etcdprogram keepalivedprogram chromiumprogram promtoolprogram testbed venv clean

BIN := .venv/bin

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

DEMO := $(or $(ENGINE),mysql redis mongodb)

demo: docker ## Run the demo: failovers, and what the clients saw of them
	@exec $(BIN)/python -m scripts.images $(DEMO)
	@exec $(BIN)/hamanager demo $(addprefix --engine ,$(DEMO)) $(if $(QUICK),--quick)

demo-hosts: testbed etcdprogram ## The demo on three hosts, one of which is lost with everything on it; needs root
	@exec $(BIN)/python -m scripts.demo_hosts

test: images composeprogram etcdprogram keepalivedprogram chromiumprogram promtoolprogram testbed ## Run all tests
	@exec $(BIN)/pytest --numprocesses $(or $(WORKERS),2) --dist loadfile \
	    --no-loadscope-reorder $(ARGS)

scenarios: images sysbenchprogram composeprogram etcdprogram keepalivedprogram testbed ## Run every failure on every engine and print a table; takes an hour
	@exec $(BIN)/pytest tests/scenarios tests/testbed tests/contract tests/simulation \
	    -m "long or not long" $(ARGS)

check: venv ## Lint, format, types and import contracts; needs no Docker
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

openapi: venv ## Write the HTTP API's documents anew, docs/openapi*.json; needs no Docker
	@exec $(BIN)/python -m scripts.openapi

simulate: venv ## Search for histories that break the product, in the simulation; needs no Docker
	@exec $(BIN)/python -m tests.simulation.search $(if $(SECONDS),--seconds $(SECONDS)) \
	    $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: images ## Measure failovers
	@exec $(BIN)/python -m benchmarks.failover

bench-hosts: images etcdprogram testbed ## Measure failovers on several hosts beside a single machine; needs root
	@exec $(BIN)/python -m benchmarks.hosts $(if $(ENGINE),--engine $(ENGINE)) \
	    $(if $(ROUNDS),--rounds $(ROUNDS))

address: images ## What plain clients notice at the one address when the primary is killed
	@exec $(BIN)/python -m benchmarks.address $(if $(ENGINE),--engine $(ENGINE)) \
	    $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(FAULT),--fault $(FAULT))

hooks: images ## What hooks that hang, fail or are slow cost a failover, beside none
	@exec $(BIN)/python -m benchmarks.hooks $(if $(ENGINE),--engine $(ENGINE)) \
	    $(if $(ROUNDS),--rounds $(ROUNDS))

scrape: venv ## What one scrape of a manager of 100 services takes; needs no Docker
	@exec $(BIN)/python -m benchmarks.scrape $(if $(SERVICES),--services $(SERVICES))

crowd: images ## When 1,000 connected clients are all back after the primary is killed
	@exec $(BIN)/python -m benchmarks.crowd $(if $(ENGINE),--engine $(ENGINE)) \
	    $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(CLIENTS),--clients $(CLIENTS))

many: images ## 150 small services on this host: what they take and what the manager costs
	@exec $(BIN)/python -m benchmarks.many $(if $(ENGINE),--engine $(ENGINE)) \
	    $(if $(SERVICES),--services $(SERVICES))

proxies: images ## How much later clients at other machines' addresses have the new primary
	@exec $(BIN)/python -m benchmarks.proxies $(if $(ENGINE),--engine $(ENGINE)) \
	    $(if $(ROUNDS),--rounds $(ROUNDS))

sysbench: images sysbenchprogram ## sysbench on the address while the primary is killed, and its cost
	@exec $(BIN)/python -m benchmarks.sysbench

soak: images $(if $(HOSTS),testbed etcdprogram) ## Failure after failure under load, and every write counted
	@exec $(BIN)/python -m benchmarks.soak$(if $(HOSTS),_hosts --hosts $(HOSTS)) \
	    $(if $(ENGINE),--engine $(ENGINE)) \
	    $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED)) \
	    $(if $(HOSTS),$(if $(SECONDS),--seconds $(SECONDS))) \
	    $(if $(INSTANCES),--instances $(INSTANCES)) \
	    $(if $(DURABILITY),--durability $(DURABILITY))

sysbenchprogram:
	@exec scripts/setup-sysbench.sh

composeprogram:
	@exec scripts/setup-compose.sh

keepalivedprogram:
	@exec scripts/setup-keepalived.sh

promtoolprogram:
	@exec scripts/setup-promtool.sh

chromiumprogram:
	@exec scripts/setup-chromium.sh

testbed: docker
	@exec scripts/setup-testbed.sh

etcdprogram:
	@exec scripts/setup-etcd.sh

images: docker ## Have the databases' images: present, pulled or built
	@exec $(BIN)/python -m scripts.images $(ENGINE)

docker: venv ## Have a Docker engine that answers; installs and starts one as root
	@exec scripts/setup-docker.sh

venv: ## Have .venv with hamanager in it
	@exec scripts/setup-venv.sh

clean: ## Remove what was made in the checkout; Docker and its images stay
	rm -rf .venv .etcd .prometheus build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
