# Doorbell's everyday commands; `make` alone lists them. The Go modules are found in go.work, never listed here.
# Works with GNU make 3.81, which is what a Mac has. Whatever needs more than a line or two is in scripts/.

.DEFAULT_GOAL := help

.PHONY: help run example build test bench fuzz lint fmt generate tidy reference clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build Doorbell and run it on this machine; the last line is its page (ARGS="--data DIR" …)
	@scripts/run.sh $(ARGS)

example: ## run an example of the browser side: make example NAME=race, prices or board (ARGS="--port 8090")
	@scripts/example.sh $(NAME) $(ARGS)

build: ## build every service's binary into bin/
	@scripts/build.sh

test: ## install what the tests need, then run them all with the race detector (ARGS="-run NAME" …)
	@scripts/test.sh $(ARGS)

bench: build ## build, then measure: write to signal, and more (ARGS=…)
	@go run ./tests/cmd/bench $(ARGS)

fuzz: ## run every fuzz target of every module, each for FUZZTIME=20s
	@scripts/fuzz.sh

lint: ## check Go, shell and the page's scripts, without changing them
	@scripts/lint.sh

fmt: ## format all Go files
	@scripts/golangci-lint.sh fmt

generate: ## write the Go code of proto/ anew (it is checked in)
	@cd proto && go run ./cmd/generate .

# Between the two tidyings, because a synced version may drop or need other modules.
tidy: ## bring every go.mod, go.sum and go.work in line with the code
	@scripts/each-module.sh env GOWORK=off go mod tidy
	@go work sync
	@scripts/each-module.sh env GOWORK=off go mod tidy

reference: ## generate the TypeScript client's API reference into clients/ts/api
	@scripts/setup.sh node npm
	@cd clients && npm ci --loglevel=error >/dev/null && npm run --silent docs --workspace ts

clean: ## remove what was built; doorbell-data/ stays
	@rm -rf bin
