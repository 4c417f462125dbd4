# Everything CI does is one of these targets; .ci/run is `make deps && make test`.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help deps need test tidy format lint fmt unit e2e fuzz golden prove storm bench bench-overload bench-timing run

MODULES := . e2e bench
# What the race detector does not watch, for it would be four to ten times slower: the arithmetic of bcrypt and PBKDF2, and SQLite, which is C
# translated to Go, with a heap of its own where the detector does not look anyway. The driver around it is watched. e2e/main_test.go has the
# same list.
UNWATCHED := golang.org/x/crypto/blowfish crypto/internal/fips140/... modernc.org/sqlite/lib modernc.org/libc modernc.org/memory
# The linter has run vet.
GOTEST := CGO_ENABLED=1 go test -race $(UNWATCHED:%=-gcflags=%=-race=false) -vet=off -shuffle=on -count=1
LINT := go tool -modfile='$(CURDIR)/.ci/tools.mod' golangci-lint
FUZZTIME ?= 30s

help: ## print the targets
	@grep -E '^[a-z0-9-]+:.*## ' Makefile | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 16

deps: ## install what the tests need (Debian, as root) and fetch the modules
	@.ci/deps install

need:
	@.ci/deps check

test: tidy format lint unit e2e ## all that CI proves, cheap things first

tidy: need ## check that each go.mod is tidy and the modules are as published
	@for m in $(MODULES); do (cd $$m && go mod tidy -diff && go mod verify); done

format: need ## check the formatting
	@for m in $(MODULES); do (cd $$m && $(LINT) fmt --diff); done

lint: need ## run the linters, the import rules of the rooms included
	@for m in $(MODULES); do (cd $$m && $(LINT) run ./...); done

fmt: need ## format the code
	@for m in $(MODULES); do (cd $$m && $(LINT) fmt); done

unit: need ## run the tests of the product with the race detector
	@$(GOTEST) ./...

e2e: need ## run the real binary against foreign clients and verifiers
	@cd e2e && $(GOTEST) -timeout 20m -parallel 4 ./...

fuzz: need ## run every fuzz target for FUZZTIME each (30s)
	@.ci/fuzz $(FUZZTIME)

golden: need ## rewrite the golden files; review the difference like code
	@go test -count=1 $$(grep -rlE --include='*_test.go' 'flag\.Bool\("update"' --exclude-dir=e2e . | xargs -n1 dirname | sort -u) -update

prove: need ## longer proofs: other processor counts, ten times the rounds, five minutes a fuzz target
	@$(GOTEST) -timeout 30m -cpu 1,2,8 ./...
	@cd e2e && E2E_SCALE=10 $(GOTEST) -timeout 60m ./...
	@.ci/fuzz 5m

storm: need ## 2,000 simulated customers with three tabs, and thieves, against each store for 14 days: a quarter of an hour
	@cd e2e && go test -v -vet=off -count=1 -timeout 90m -parallel 2 -run '^TestStorm$$' ./storm -args -clients 2000 -days 14 -seed 1 -store both

bench: need ## run the benchmarks
	@go test -run '^$$' -bench . -benchmem ./...

bench-overload: need ## ten times as many sign-ins as can be done, beside refreshes; then the same against go-oauth2: ten minutes
	@cd bench && go test -vet=off -count=1 -timeout 30m -run '^$$' -bench '^BenchmarkOverload$$' -benchtime 1x .

bench-timing: need ## whether the time of a refused sign-in tells if there is such a customer: three minutes
	@cd bench && go test -vet=off -count=1 -timeout 30m -run '^$$' -bench '^BenchmarkTiming$$' -benchtime 1x .

run: ## start a server with demo data
	@go run ./cmd/glueauth serve --demo
