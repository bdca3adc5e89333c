# The project's verbs. What each does is in the script it names.
#   KERNEL=7.3|7.2|VERSION  which stock kernel      KDIR=DIR  any prepared tree
#   FEP_CACHE=DIR  where set-up keeps what it makes (~/.cache/fep)

.PHONY: help setup build module userspace demo test test-kernels bench bench-check bench-core bench-memory bench-scale bench-tcp bench-profile check vm rust-analyzer clean distclean
.NOTPARALLEL:

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24
setup: ## get toolchain, kernel and guest system (cached; every verb does what it needs of it)
	@scripts/setup
build: setup module userspace ## build fep.ko and the programs into build/
module: setup ## build fep.ko alone (KDIR=DIR: for any prepared kernel tree)
	@scripts/build-module
userspace: setup ## build the programs alone
	@scripts/build-userspace
demo: build ## real traffic through a front-end to three back-ends (INTERACTIVE=1 stays up)
	@scripts/in-root tests/demo/run
test: ## every test; the last line counts them (TESTS="FILE..." runs those only)
	@scripts/test $(TESTS)
test-kernels: ## the guest tests on every supported kernel
	@scripts/test --every-kernel $(TESTS)
bench: build ## instructions per packet on each way through a front-end (build/bench.json)
	@scripts/bench
bench-check: build ## fails when a packet costs 1 % more instructions than in tests/bench/baseline.json
	@scripts/bench-check
bench-core: setup ## micro-benchmarks of the pure decisions on this host, by the clock
	@scripts/bench-core
bench-memory: build ## bytes for each client, beside IPVS and conntrack (build/bench-memory.json)
	@scripts/bench-memory
bench-scale: build ## cost with more routes, services, nodes and processors (build/bench-scale.json)
	@scripts/bench-scale
bench-tcp: build ## real TCP through fep, IPVS and forwarding in turn (build/bench-tcp.json)
	@scripts/bench-tcp
bench-profile: build ## where the instructions of a row are (PATH_NAME="fep-nat udp4 request steady")
	@scripts/bench-profile "$(PATH_NAME)" $(if $(AGAINST),--against "$(AGAINST)")
check: build ## formatting, lints, budgets; no tests
	@scripts/check
vm: build ## a root shell in a guest
	@qemu/run --timeout 0 --smp 2 --mem 1G --shell
rust-analyzer: setup ## write rust-project.json for an editor
	@scripts/rust-analyzer
clean: ## remove what build made
	@scripts/clean
distclean: ## remove that and the caches
	@scripts/clean --caches
