# Everything here sets up what it needs itself (scripts/setup): as root it installs missing
# Debian packages, else it names them.
GO      ?= go
VERSION ?= $(shell git describe --always --dirty 2>/dev/null || echo unknown)
# Nothing of the directory, the repository or the moment goes into a program: who builds the
# same source with the same tools gets the same bytes, and so the same room image.
LDFLAGS := -s -w -buildid= -X strongroom.dev/internal/version.Version=$(VERSION)

.PHONY: build demo demo-vm demo-container demo-cards test bench lint long clean

build: ## the programs, into bin/
	scripts/setup build
	mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/strongroom ./cmd/strongroom
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/strongroom-agent ./cmd/strongroom-agent
	CGO_ENABLED=1 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS) -extld $(CURDIR)/scripts/link-static -extldflags "-static"' -o bin/strongroom-sql ./cmd/strongroom-sql

demo: build ## two hospitals, one study, every attack refused
	bin/strongroom demo hospitals

demo-vm: build ## the same study in a booted, measured virtual machine
	scripts/setup vm
	bin/strongroom demo vm

demo-container: build ## an unmodified image in a room, reached by who checked it first
	scripts/setup container
	bin/strongroom demo container

demo-cards: build ## a clean room: a bank, a grocer, and an agency that asks what the rules let pass
	bin/strongroom demo cards

test: build ## every test
	scripts/setup test
	scripts/test

bench: build ## speed, side by side with the peers
	scripts/setup bench
	$(GO) run ./bench

lint: ## vet, gofmt, staticcheck, govulncheck where reachable
	scripts/lint

long: build ## what takes longer: every byte of endorsements altered, images built twice, more fuzzing
	scripts/setup test
	STRONGROOM_LONG=1 $(GO) test -timeout 60m ./image ./sevsnp ./dcap ./tpm2 ./attest/...
	scripts/fuzz 2400

clean:
	rm -rf bin strongroom-demo strongroom-demo-vm strongroom-demo-attestation strongroom-demo-container strongroom-demo-cards
