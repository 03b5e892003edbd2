# tests.mk - builds the test programs and hands every suite to tests/run.py. A suite is there by being there: a cmocka
# program tests/NAME.c or tests/{unit,misuse,golden,fuzz}/NAME.c, linked with the helpers in tests/lib; the same under
# tests/tsan, built with -fsanitize=thread only; or a Python file tests/**/test_*.py.

TEST_SRC    := $(filter-out tests/fuzz/libfuzzer.c,$(wildcard tests/*.c tests/unit/*.c tests/misuse/*.c tests/golden/*.c tests/fuzz/*.c))
TSAN_SRC    := $(wildcard tests/tsan/*.c)
TEST_PY     := $(sort $(wildcard tests/test_*.py tests/*/test_*.py))
TEST_HELPER := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/lib/*.c))
SUITES      ?= $(TEST_SRC) $(TSAN_SRC) $(TEST_PY)
TEST_PROG   := $(patsubst %.c,$(BUILD)/%,$(filter $(SUITES),$(if $(filter tsan,$(MODE)),$(TSAN_SRC),$(TEST_SRC))))

# What `make test` builds and runs: every mode from the release build, only its own from a sanitized one. A BUILD given
# on the command line holds the other modes' builds as subfolders.
TEST_MODES := $(if $(filter release,$(MODE)),release asan tsan,$(MODE))
test_build  = $(if $(filter $(MODE),$1),$(BUILD),$(if $(filter command,$(origin BUILD)),$(BUILD)/$1,build/$1))
run_tests   = $(PYTHON) tests/run.py $(foreach m,$(TEST_MODES),--build $m=$(call test_build,$m)) \
              $(if $(JUNIT),--junit $(JUNIT)) $1 $(SUITES)

$(BUILD)/tests/%: tests/%.c $(TEST_HELPER) $(ALL_LIB) $(BUILD)/flags | deps
	@mkdir -p $(@D); echo "  TEST  $<"
	@$(CC) $(CFLAGS) -MF $@.d -MT $@ -o $@ $< $(TEST_HELPER) $(ALL_LIB) -lcmocka $(LIBS)

.PHONY: test-programs
test-programs: $(TEST_PROG) $(if $(filter tsan,$(MODE)),,alloclab)

.PHONY: test-deps
test-deps: | deps
	@scripts/install.sh test

.PHONY: build-tests
build-tests: | test-deps
	+@$(foreach m,$(TEST_MODES),$(MAKE) --no-print-directory MODE=$m BUILD=$(call test_build,$m) test-programs &&) true

.PHONY: test
test: build-tests ## every suite, plain and sanitized; SUITES="tests/unit/os.c" runs one, JUNIT=FILE writes XML
	@$(call run_tests)

.PHONY: test-full
test-full: build-tests ## every suite, longer: more fuzzing, and the Python suites under sanitizers too
	@$(call run_tests,--full)

.PHONY: recorded-deps
recorded-deps: | deps
	@scripts/install.sh recorded

.PHONY: record-programs
record-programs: alloclab | recorded-deps ## record real programs, servers and desktop programs among them, and replay them with the oracle; QUICK=1, ONLY=redis
	@ALLOCLAB=$(ALLOCLAB) $(if $(QUICK),,TEST_FULL=1) $(PYTHON) tests/record/test_programs.py -v $(addprefix -k ,$(ONLY))

.PHONY: stress
stress: test-programs ## ten minutes of randomised concurrent stress on each design with threads; SECONDS=N, DESIGN=NAME
	@CMOCKA_MESSAGE_OUTPUT=TAP ALLOCLAB_STRESS_SECONDS=$(or $(SECONDS),600) \
	  $(if $(DESIGN),ALLOCLAB_STRESS_DESIGN=$(DESIGN)) $(BUILD)/tests/unit/stress

.PHONY: test-asan
test-asan: ## the suites under the address and undefined-behaviour sanitizers alone
	+@$(MAKE) --no-print-directory MODE=asan BUILD=$(call test_build,asan) test

.PHONY: test-tsan
test-tsan: ## the suites for the thread sanitizer alone
	+@$(MAKE) --no-print-directory MODE=tsan BUILD=$(call test_build,tsan) test

# Long fuzzing by clang's libFuzzer; its corpora grow in build/fuzz.
FUZZ_SRC   := tests/fuzz/libfuzzer.c tests/lib/import_once.c tests/lib/trace_image.c tests/lib/capture_sketch.c $(wildcard traces/*.c traces/formats/*.c)
FUZZ_FORMS := trace $(filter-out ops8,$(FORMATS))

build/fuzz/formats.c: FORCE
	@mkdir -p $(@D); scripts/registry.sh rest "" "$(FORMATS)" "" > $(new) && $(keep_or_replace)

build/fuzz/libfuzzer: $(FUZZ_SRC) build/fuzz/formats.c $(wildcard traces/*.h traces/formats/*.h tests/lib/*.h)
	@scripts/install.sh fuzz; echo "  FUZZ  $@"
	@clang -std=c11 -D_GNU_SOURCE -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -I. -pthread \
	  -o $@ $(filter %.c,$^) -lcmocka -lzstd -lxxhash -lz

.PHONY: fuzz
fuzz: build/fuzz/libfuzzer alloclab ## importers and the reader under clang's libFuzzer; MINUTES=1 for each form, FORM="mtrace .."
	@ALLOCLAB=$(ALLOCLAB) scripts/fuzz.sh $< build/fuzz $(or $(MINUTES),1) $(or $(FORM),$(FUZZ_FORMS))

.PHONY: misuse-table
misuse-table: $(BUILD)/tests/misuse/misuse ## rewrite docs/misuse.md, which design detects what
	@CMOCKA_MESSAGE_OUTPUT=TAP $< docs/misuse.md

.SECONDARY: $(TEST_HELPER)
-include $(TEST_PROG:=.d) $(TEST_HELPER:.o=.d)
