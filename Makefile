# SPDX-License-Identifier: Apache-2.0
# Copyright the Portcullis authors
#
# The door for contributors: every verb, and nothing that scripts/ does not say plainly.

.DEFAULT_GOAL := help
.PHONY: help build demo test check bench fmt install

help: ## print this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the programs, hardened and static, into .build/release (installs missing Debian packages as root)
	@scripts/build

demo: ## build, start the gateway on loopback, let real clients be permitted, refused and confined
	@scripts/demo

test: ## check, build, and every test, the real daemon's among them (under 20 minutes on 2 cores)
	@scripts/test

check: ## the walls between the trust zones: imports, unsafe, settings, format, linkage, benchmarks' types
	@scripts/check

bench: ## the policy engine against its targets, then permitted rsh beside netkit's under xinetd
	@scripts/bench-policy
	@scripts/bench

fmt: ## format the sources in place
	@scripts/format

install: ## install what `make build` made below DESTDIR (default /)
	@scripts/install
