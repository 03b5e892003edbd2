# bench.mk - the benches of what memory does (how much a producer and a consumer need, what goes back to the kernel), of
# worst cases, and of what a simulated machine counts.

$(BUILD)/bench-%: tests/bench/%.c $(ALL_LIB)
	@$(CC) $(CFLAGS) -MF $@.d -o $@ $< $(ALL_LIB) $(LIBS)
-include $(wildcard $(BUILD)/bench-*.d)

BLOWUP := out/blowup

.PHONY: bench-blowup
bench-blowup: $(BUILD)/bench-blowup ## producer to consumer beside each design's bound; OBJECTS=N for another number than 100 million
	@mkdir -p $(BLOWUP); status=0; $< $(or $(OBJECTS),100000000) $(BLOWUP)/blowup.csv || status=$$?; \
	  $(PYTHON) plots/blowup.py $(BLOWUP) && exit $$status

.PHONY: bench-idle
bench-idle: $(BUILD)/bench-idle ## what 15 idle seconds give back, and what it costs; DESIGNS="segfit ..", VIRTUAL=1 does not wait
	@$< $(if $(VIRTUAL),virtual) $(if $(COST),cost) $(DESIGNS)

.PHONY: bench-typed
bench-typed: $(BUILD)/bench-typed ## what keeping objects constructed saves, beside constructing at each allocation
	@$<

.PHONY: bench-latency
bench-latency: alloclab ## the worst case of the designs that promise a bound on it, over replays from the same state; BLOCKS=N, SEED=N
	@ALLOCLAB=$(ALLOCLAB) $(PYTHON) tests/bench/latency.py $(if $(BLOCKS),--blocks $(BLOCKS)) $(if $(SEED),--seed $(SEED))

.PHONY: bench-parallel
bench-parallel: alloclab ## what threads wait for each other in a parallel replay, by design, and how it scales; DESIGNS="segfit ..", BLOCKS=N, SEED=N
	@ALLOCLAB=$(ALLOCLAB) $(PYTHON) tests/bench/parallel.py $(if $(BLOCKS),--blocks $(BLOCKS)) $(if $(SEED),--seed $(SEED)) $(DESIGNS)

LOCALITY := out/locality
SAMPLES  := $(wildcard traces/samples/*.trace)

.PHONY: locality-deps
locality-deps: | deps ## install valgrind, for --passes locality
	@scripts/install.sh locality

.PHONY: bench-locality
bench-locality: alloclab | locality-deps ## instructions, cache misses and page walks of all designs on the samples; DESIGNS="a b", OPS=N of each
	@rm -rf $(LOCALITY); $(ALLOCLAB) run --passes locality --seed 1 --locality-ops $(or $(OPS),100000) \
	  $(if $(DESIGNS),-a "$$(echo "$(DESIGNS)" | tr ' ' ,)") -w "$$(echo $(SAMPLES) | tr ' ' ,)" -o $(LOCALITY) && \
	  $(PYTHON) plots/locality.py $(LOCALITY)

# ./alloclab with one design more, which slows another one down by a known amount.
SLOWED := $(BUILD)/slowed/alloclab

$(BUILD)/slowed/designs.c: FORCE
	@mkdir -p $(@D); scripts/registry.sh designs "$(ALLOCATORS) slowed" > $(new) && $(keep_or_replace)

$(SLOWED): $(BUILD)/slowed/designs.c tests/bench/slowed.c $(ALL_LIB)
	@$(CC) $(filter-out -MMD -MP,$(CFLAGS)) -o $@ $^ $(LIBS)

test-programs: $(if $(filter release,$(MODE)),$(SLOWED))

.PHONY: bench-null
bench-null: $(SLOWED) | test-deps locality-deps ## what statistics say of no difference, of 10 % more time and 1 % more instructions; QUICK=1, SEED=N
	@ALLOCLAB=$< $(PYTHON) tests/bench/null.py $(if $(QUICK),--quick) $(if $(SEED),--seed $(SEED))

.PHONY: bench-stream
bench-stream: alloclab ## streamed replay beside plans in memory, and a trace of 1 G ops in bounded memory; BLOCKS=N, SEED=N, OPS=N, PART=agreement|huge
	@ALLOCLAB=$(ALLOCLAB) $(PYTHON) tests/bench/stream.py $(if $(BLOCKS),--blocks $(BLOCKS)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(OPS),--ops $(OPS)) $(if $(PART),--part $(PART))

.PHONY: bench-trace-info
bench-trace-info: alloclab | test-deps ## `trace info` of a trace beside zstd -d of the same bytes, time and memory; OPS=N (50000000), TRACES='FILE..', BLOCKS=N, SEED=N
	@ALLOCLAB=$(ALLOCLAB) $(PYTHON) tests/bench/trace_info.py $(if $(BLOCKS),--blocks $(BLOCKS)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(OPS),--ops $(OPS)) $(if $(LIVE),--live $(LIVE)) $(TRACES)

$(BUILD)/record_%: tests/bench/record_%.c $(BUILD)/flags
	@mkdir -p $(@D); $(CC) $(CFLAGS) -fno-builtin -MF $@.d -o $@ $<

$(BUILD)/record_shim.so: tests/bench/record_shim.c $(BUILD)/flags
	@mkdir -p $(@D); $(CC) $(PIC_CFLAGS) -fvisibility=default -fno-builtin -MF $@.d -shared -o $@ $< -ldl

.PHONY: bench-record
bench-record: alloclab $(BUILD)/record_handover $(BUILD)/record_pairs $(BUILD)/record_shim.so | test-deps ## what recording costs, beside the bare program, heaptrack and libmemusage; BLOCKS=N, ONLY=sqlite,perl
	@ALLOCLAB=$(ALLOCLAB) BUILD=$(BUILD) $(PYTHON) tests/bench/record.py $(if $(BLOCKS),--blocks $(BLOCKS)) \
	  $(if $(ONLY),--only $(ONLY))
