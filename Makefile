# Makefile - builds, tests, draws. `make help` lists the targets; a comment after ## is a target's help line.
#
# Everything registered is registered by being there: allocators/*.c, workloads/*.c, traces/formats/*.c,
# traces/transforms/*.c and harness/commands/*.c. Their lists are generated here and rewritten only when they change.
# MODE=asan and MODE=tsan build the same suite under sanitizers, each in a build folder of its own.

MODE    ?= release
BUILD   := build/$(MODE)
ifeq ($(origin CC),default)
CC      := gcc
endif
PYTHON   = $(shell scripts/python.sh)

ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif
.DELETE_ON_ERROR:

# What sanitizers add to the code misleads these warnings; the release build judges by them.
QUIET       := -Wno-format-truncation -Wno-stringop-truncation -Wno-stringop-overflow -Wno-maybe-uninitialized
OPT_release := -O2 -g
OPT_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT_tsan    := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
OPT         := $(or $(OPT_$(MODE)),$(error MODE=$(MODE): use release, asan or tsan))
WARN   := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith -Werror
CFLAGS := -std=c11 -D_GNU_SOURCE $(OPT) $(WARN) $(if $(filter release,$(MODE)),,$(QUIET)) -I. -pthread -MMD -MP -DBUILD_MODE='"$(MODE)"' \
          -DBUILD_FLAGS='"-std=c11 $(OPT)"'
LIBS   := -lzstd -lxxhash -lz -lpfm -lm -pthread

ALLOCATORS := $(sort $(notdir $(basename $(wildcard allocators/*.c))))
WORKLOADS  := $(sort $(notdir $(basename $(wildcard workloads/*.c))))
FORMATS    := $(sort $(notdir $(basename $(wildcard traces/formats/*.c))))
TRANSFORMS := $(sort $(notdir $(basename $(wildcard traces/transforms/*.c))))
COMMANDS   := $(sort $(notdir $(basename $(wildcard harness/commands/*.c))))

LIB_SRC  := $(wildcard allocators/*.c allocators/lib/*.c api/pool/*.c traces/*.c traces/formats/*.c traces/transforms/*.c workloads/*.c \
              workloads/lib/*.c harness/*.c)
CMD_SRC  := $(wildcard harness/commands/*.c)
REC_SRC  := $(wildcard traces/recorder/*.c)
REC_OBJ  := $(REC_SRC:%.c=$(BUILD)/pic/%.o)
LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/%.o) $(CMD_SRC:%.c=$(BUILD)/%.o) $(BUILD)/designs.o \
            $(BUILD)/registry.o $(BUILD)/manual.o
ALL_SRC  := $(wildcard allocators/*.[ch] allocators/lib/*.[ch] api/*.[ch] api/*.hpp api/*/*.[ch] api/*/*.cpp traces/*.[ch] \
              traces/*/*.[ch] workloads/*.[ch] workloads/lib/*.[ch] harness/*.[ch] harness/*/*.[ch] \
              tests/*.[ch] tests/*/*.[ch])

.PHONY: all
all: alloclab ## build ./alloclab, the recorder and the libraries (the default)

ALLOCLAB := $(BUILD)/alloclab
RECORDER := $(BUILD)/liballoclab-record.so
ALL_LIB  := $(BUILD)/liballoclab-all.a

# ./alloclab is the release build's, so that nobody measures a sanitized one by accident.
.PHONY: alloclab
alloclab: $(ALLOCLAB) $(RECORDER)
	$(if $(filter build/release,$(BUILD)),@ln -sfn $(ALLOCLAB) alloclab)

$(ALLOCLAB): $(ALL_LIB)
	@echo "  LINK  $@"; $(CC) $(CFLAGS) -o $@ $^ $(LIBS)

$(ALL_LIB): $(LIB_OBJ)
	@rm -f $@; $(AR) qcs $@ $^

# What goes into other programs is position-independent and never under a sanitizer.
PIC_CFLAGS := -std=c11 -D_GNU_SOURCE -O2 -g $(WARN) -I. -MMD -MP -fPIC -fvisibility=hidden -ftls-model=initial-exec -pthread

$(RECORDER): $(REC_OBJ)
	@mkdir -p $(@D); echo "  LINK  $@"; $(CC) -shared -Wl,-z,now -o $@ $^ -pthread -ldl

$(BUILD)/pic/%.o: %.c $(BUILD)/flags | deps
	@mkdir -p $(@D); echo "  CC    $< (shared)"
	@$(CC) $(PIC_CFLAGS) -c -o $@ $<

$(BUILD)/%.o: %.c $(BUILD)/flags | deps
	@mkdir -p $(@D); echo "  CC    $<"; $(CC) $(CFLAGS) -c -o $@ $<

$(BUILD)/designs.o $(BUILD)/registry.o $(BUILD)/manual.o: $(BUILD)/%.o: $(BUILD)/%.c $(BUILD)/flags | deps
	@$(CC) $(CFLAGS) -c -o $@ $<

# Generated files are rewritten only when their contents change: other flags or another list rebuild what they touch.
# Two makes at once write two files: the shell's process names them.
new = $@.$$$$
keep_or_replace = { cmp -s $(new) $@ && rm $(new) || mv $(new) $@; }

$(BUILD)/designs.c: FORCE
	@mkdir -p $(@D); scripts/registry.sh designs "$(ALLOCATORS)" > $(new) && $(keep_or_replace)

$(BUILD)/registry.c: FORCE
	@mkdir -p $(@D); scripts/registry.sh rest "$(WORKLOADS)" "$(FORMATS)" "$(COMMANDS)" "$(TRANSFORMS)" > $(new) && $(keep_or_replace)

# The header comments are the manual that `alloclab describe` prints.
MANUAL_SRC := $(sort $(wildcard allocators/*.c workloads/*.c traces/formats/*.c traces/transforms/*.c))

$(BUILD)/manual.c: $(MANUAL_SRC) scripts/manual.sh FORCE
	@mkdir -p $(@D); scripts/manual.sh $(MANUAL_SRC) > $(new) && $(keep_or_replace)

$(BUILD)/flags: FORCE
	@mkdir -p $(@D); echo '$(subst ','\'',$(CC) $(CFLAGS))' > $(new) && $(keep_or_replace)
FORCE:

.PHONY: deps
deps: ## install what is missing (Debian packages)
	@scripts/install.sh

-include $(LIB_OBJ:.o=.d) $(REC_OBJ:.o=.d)

include scripts/dropin.mk
include scripts/pool.mk
include scripts/bench.mk
include scripts/cross.mk
include scripts/tests.mk

.PHONY: demo
demo: alloclab ## record a program, replay real recordings on every allocator, leave tables and pictures
	@scripts/demo.sh

# A figure names the file that it is drawn from (NEEDS) where that is not results.csv, or else the pass (PASS): no such
# file, or no row of the pass, no figure. Those of results.csv are of replays: there are none where whole programs ran
# (hyperfine/).
.PHONY: figures
figures: ## draw all figures of a results folder: make figures DIR=out/...
	@test -n "$(DIR)" || { echo "figures: which results? make figures DIR=out/..." >&2; exit 2; }
	@test -d "$(DIR)" || { echo "figures: $(DIR): not a folder: give one that \`alloclab run -o DIR\` wrote" >&2; exit 2; }
	@for plot in $(filter-out plots/style.py,$(wildcard plots/*.py)); do \
	    needs=$$(sed -n 's/^NEEDS = "\([a-z_.]*\)".*/\1/p' $$plot); \
	    pass=$$(sed -n 's/^PASS = "\([a-z]*\)".*/\1/p' $$plot); \
	    if [ -n "$$pass" ] && ! grep -qs ",$$pass," "$(DIR)/results.csv"; then continue; fi; \
	    if [ -e "$(DIR)/$${needs:-results.csv}" ] && [ "$$needs" -o ! -e "$(DIR)/hyperfine" ]; then echo $$plot; fi; done | \
	  DIR="$(DIR)" xargs -P "$$(nproc)" -I{} sh -c '$(PYTHON) {} "$$DIR" || exit 1'

$(BUILD)/replay_floor: tests/bench/replay_floor.c $(ALL_LIB)
	@$(CC) $(CFLAGS) -o $@ $< $(ALL_LIB) $(LIBS)

.PHONY: bench-replay
bench-replay: $(BUILD)/replay_floor ## the harness's own cost, beside a bare loop in one interleaved run
	@$<

# Transparent huge pages of benches beside rivals, which differ in asking for them: THP=asis|off|on.
THP_RUN = $(ALLOCLAB) thp $(or $(THP),off) --

.PHONY: rivals
rivals: | deps ## install other people's allocators: jemalloc, mimalloc, tcmalloc, tbbmalloc
	@scripts/install.sh rivals

$(BUILD)/rivals: tests/bench/rivals.c $(BUILD)/flags
	@mkdir -p $(@D); $(CC) $(CFLAGS) -fno-builtin -MF $@.d -o $@ $<

.PHONY: bench-rivals
bench-rivals: all $(BUILD)/rivals | rivals ## race drop-ins (DESIGNS="segfit ..") against the rivals; BLOCKS=10 SEED=N THP=off
	@ALLOCLAB=$(ALLOCLAB) BUILD=$(BUILD) $(THP_RUN) $(PYTHON) tests/bench/rivals.py $(if $(BLOCKS),--blocks $(BLOCKS)) \
	  $(if $(SEED),--seed $(SEED)) $(or $(DESIGNS),segfit)

$(BUILD)/ops8_loop: tests/bench/ops8_loop.c $(BUILD)/flags
	@mkdir -p $(@D); $(CC) $(CFLAGS) -fno-builtin -MF $@.d -o $@ $<

.PHONY: bench-agreement
bench-agreement: all $(BUILD)/ops8_loop | rivals ## the harness's ratios beside those of a bare loop; TRACES="redis .." BLOCKS=20 MOST=120 SEED=N THP=off
	@ALLOCLAB=$(ALLOCLAB) BUILD=$(BUILD) $(THP_RUN) $(PYTHON) tests/bench/agreement.py $(if $(BLOCKS),--blocks $(BLOCKS)) \
	  $(if $(MOST),--most $(MOST)) $(if $(SEED),--seed $(SEED)) $(TRACES)

.PHONY: programs-deps
programs-deps: | deps
	@scripts/install.sh programs

.PHONY: bench-programs
bench-programs: all | rivals programs-deps ## real programs on each allocator, by hyperfine; DESIGNS="glibc segfit .." BLOCKS=10 SEED=N THP=off
	@ALLOCLAB=$(ALLOCLAB) $(THP_RUN) $(PYTHON) tests/bench/programs.py $(if $(BLOCKS),--blocks $(BLOCKS)) \
	  $(if $(SEED),--seed $(SEED)) $(if $(PROGRAMS),--programs $(PROGRAMS)) $(DESIGNS)

.PHONY: golden
golden: alloclab ## rewrite the expected figures of tests/golden: only when a change of them is meant
	@$(PYTHON) tests/golden/test_golden.py --write

.PHONY: docs
docs: alloclab ## rewrite the generated documents: docs/metrics.md and the handbook's pages
	@$(PYTHON) scripts/docs.py

.PHONY: handbook
handbook: alloclab ## the same, and draw the handbook's heap maps anew
	@$(PYTHON) scripts/docs.py --pictures

.PHONY: lint-deps
lint-deps: | deps
	@scripts/install.sh lint

.PHONY: fmt
fmt: lint-deps ## reformat all C sources
	@clang-format -i $(ALL_SRC)

.PHONY: fmt-check
fmt-check: lint-deps ## fail if a C source is not formatted
	@clang-format --dry-run -Werror $(ALL_SRC) && echo "fmt-check: all formatted"

.PHONY: lint
lint: lint-deps alloclab ## layers, door, writable data, sizes, static analysis, generated documents
	@scripts/lint.py --build $(BUILD)
	@ALLOCLAB=$(ALLOCLAB) $(PYTHON) scripts/docs.py --check && echo "docs: as the source says"

.PHONY: new
new: ## make new NAME=x: a new allocator that compiles, registers and passes
	@scripts/new.sh "$(NAME)"

.PHONY: clean
clean: ## remove everything built
	@rm -rf build alloclab

.PHONY: help
help: ## this list
	@echo "make [MODE=release|asan|tsan] TARGET"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'
