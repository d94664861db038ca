# Needs Go and, for the race detector, a C compiler. Tools are pinned in
# tools/go.mod and built on first use. The bench has a module of its own, so that
# nothing which only it needs is built into the product; no go.work joins the two,
# because go refuses -modfile in a workspace.

SHELL := bash
.DEFAULT_GOAL := help

GO   ?= go
TOOL := tool -modfile="$(CURDIR)/tools/go.mod"

# each runs a command in both modules, in the second also if it fails in the first.
each = status=0; for module in . bench; do $(GO) -C $$module $(1) || status=1; done; exit $$status

VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
RUNFLAGS    ?=
TESTFLAGS   ?=
TESTTIMEOUT ?= 10m
BENCHFLAGS  ?=
BENCH       ?= .
COUNT       ?= 1
FUZZ        ?= .
FUZZTIME    ?= 30s
ROUNDS      ?= 10

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## serve a demo app (RUNFLAGS)
	$(GO) run ./cmd/tidings serve --demo $(RUNFLAGS)

.PHONY: build
build: ## build the release binary bin/tidings (VERSION)
	$(GO) build -trimpath -ldflags '-X tidings/internal/cli.version=$(VERSION)' -o bin/tidings ./cmd/tidings

.PHONY: test
test: ## run all tests with the race detector (TESTFLAGS, TESTTIMEOUT)
	@$(call each,test -race -shuffle=on -timeout $(TESTTIMEOUT) $(TESTFLAGS) ./...)

.PHONY: crash
crash: ## kill the server under load, ten times as often as the tests do (ROUNDS)
	TIDINGS_TEST_ROUNDS=$(ROUNDS) $(GO) test -race -count=1 -timeout 0 -v -run '^TestKill' ./internal/server

.PHONY: check
check: ## check format, module files, vet and lint; runs no tests
	@out=$$($(GO) $(TOOL) gofumpt -l -d .) && [ -z "$$out" ] || \
		{ echo "$$out"; echo 'not formatted: run make fmt' >&2; exit 1; }
	$(GO) -C tools mod tidy -diff
	@$(call each,mod tidy -diff)
	@$(call each,vet ./...)
	@$(call each,$(TOOL) golangci-lint run)
	GOOS=windows $(GO) build ./...

.PHONY: fmt
fmt: ## format all Go files
	$(GO) $(TOOL) gofumpt -l -w .

.PHONY: tidy
tidy: ## bring the module files up to date
	$(GO) -C tools mod tidy
	@$(call each,mod tidy)

.PHONY: generate
generate: ## rewrite what is made from the rows and tables: documents, the client's table
	$(GO) test -count=1 ./internal/api -run 'TestReference|TestClientCommands' -update
	$(GO) test -count=1 ./internal/apierr ./internal/config ./doc -update

.PHONY: bench
bench: build bin/tidings-bench ## measure the server with its own load suite (BENCHFLAGS)
	bin/tidings-bench suite $(BENCHFLAGS)

.PHONY: bin/tidings-bench
bin/tidings-bench:
	$(GO) -C bench build -trimpath -o ../bin/ ./cmd/tidings-bench

.PHONY: gobench
gobench: ## run the Go benchmarks (BENCH, COUNT; COUNT=10 for benchstat)
	@$(call each,test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) -timeout 0 ./...)

# go test fuzzes one target of one package at a time. -list prints the names of
# a package's targets, then a line "ok <package> <time>".
.PHONY: fuzz
fuzz: ## fuzz every target matching FUZZ, each for FUZZTIME
	@set -eo pipefail; for module in . bench; do \
		list=$$($(GO) -C $$module test -list '^Fuzz' ./...); \
		awk '/^Fuzz/ { names[++n] = $$1 } /^ok/ { for (i = 1; i <= n; i++) print names[i], $$2; n = 0 }' <<<"$$list" | \
		{ grep -E -- '$(FUZZ)' || true; } | \
		while read -r name pkg; do \
			echo "$$pkg $$name"; \
			$(GO) -C $$module test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x "$$pkg" </dev/null; \
		done; \
	done

.PHONY: vuln
vuln: ## look for known vulnerabilities (needs the network)
	@$(call each,$(TOOL) govulncheck ./...)

.PHONY: clean
clean: ## remove what the other targets built
	rm -rf bin
