# Short names for the usual commands. CONTRIBUTING.md explains them.

golangci := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(shell sed -n 's/^readonly golangci=//p' .ci/run)

.PHONY: ci lint test bench

ci: # everything that must pass before a change lands
	.ci/run

lint:
	go vet ./... && go run ./internal/lint && go run $(golangci) run

test:
	go test ./...

bench:
	go test -run='^$$' -bench=. ./...
