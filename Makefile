# Makefile - builds, tests, draws. `make help` lists the targets; a comment after ## is a target's help line.
#
# Everything registered is registered by being there: allocators/*.c, workloads/*.c, traces/formats/*.c and
# harness/commands/*.c. Their lists are generated here and rewritten only when they change.
# MODE=asan and MODE=tsan build the same suite under sanitizers, each in a build folder of its own.

MODE    ?= release
BUILD   := build/$(MODE)
CC      ?= gcc
PYTHON   = $(shell scripts/python.sh)

OPT_release := -O2 -g
OPT_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT_tsan    := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
OPT         := $(OPT_$(MODE))
WARN   := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith -Werror
CFLAGS := -std=c11 -D_GNU_SOURCE $(OPT) $(WARN) -I. -pthread -MMD -MP -DBUILD_MODE='"$(MODE)"' \
          -DBUILD_FLAGS='"-std=c11 $(OPT)"'
LIBS   := -lzstd -lxxhash -lz -lm -pthread

ALLOCATORS := $(sort $(notdir $(basename $(wildcard allocators/*.c))))
WORKLOADS  := $(sort $(notdir $(basename $(wildcard workloads/*.c))))
FORMATS    := $(sort $(notdir $(basename $(wildcard traces/formats/*.c))))
COMMANDS   := $(sort $(notdir $(basename $(wildcard harness/commands/*.c))))

LIB_SRC  := $(wildcard allocators/*.c allocators/lib/*.c traces/*.c traces/formats/*.c workloads/*.c \
              workloads/lib/*.c harness/*.c)
CMD_SRC  := $(wildcard harness/commands/*.c)
LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/%.o) $(BUILD)/registry.o
CMD_OBJ  := $(CMD_SRC:%.c=$(BUILD)/%.o)
ALL_SRC  := $(wildcard allocators/*.[ch] allocators/lib/*.[ch] api/*.[ch] api/*/*.[ch] traces/*.[ch] \
              traces/*/*.[ch] workloads/*.[ch] workloads/lib/*.[ch] harness/*.[ch] harness/*/*.[ch] \
              tests/*.[ch] tests/*/*.[ch])

.PHONY: all
all: alloclab ## build ./alloclab and the recorder (the default)

ALLOCLAB := $(BUILD)/alloclab
.PHONY: alloclab
alloclab: $(ALLOCLAB) $(BUILD)/liballoclab-record.so
	@ln -sf $(ALLOCLAB) alloclab

$(ALLOCLAB): $(CMD_OBJ) $(BUILD)/liballoclab-all.a
	@echo "  LINK  $@"; $(CC) $(CFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/liballoclab-all.a: $(LIB_OBJ)
	@rm -f $@; ar rcs $@ $^

# The recorder goes into other programs: position-independent, never under a sanitizer.
$(BUILD)/liballoclab-record.so: $(wildcard traces/recorder/*.[ch])
	@mkdir -p $(@D); echo "  LINK  $@"
	@$(CC) -std=c11 -D_GNU_SOURCE -O2 -g $(WARN) -I. -fPIC -shared -fvisibility=hidden \
	  -ftls-model=initial-exec -o $@ $(wildcard traces/recorder/*.c) -pthread -ldl

$(BUILD)/%.o: %.c | deps
	@mkdir -p $(@D); echo "  CC    $<"; $(CC) $(CFLAGS) -c -o $@ $<

$(BUILD)/registry.o: build/registry.c
	@mkdir -p $(@D); $(CC) $(CFLAGS) -c -o $@ $<

build/registry.c: FORCE
	@mkdir -p build; scripts/registry.sh "$(ALLOCATORS)" "$(WORKLOADS)" "$(FORMATS)" "$(COMMANDS)" > $@.new; \
	cmp -s $@.new $@ && rm $@.new || mv $@.new $@
FORCE:

.PHONY: deps
deps: ## install what is missing (Debian packages)
	@scripts/install.sh

-include $(LIB_OBJ:.o=.d) $(CMD_OBJ:.o=.d)

include scripts/tests.mk

.PHONY: fmt fmt-check lint help new clean
fmt: ## reformat all C sources
	@clang-format -i $(ALL_SRC)

fmt-check: ## fail if a C source is not formatted
	@clang-format --dry-run -Werror $(ALL_SRC) && echo "fmt-check: all formatted"

lint: alloclab ## layers, door, writable data, sizes, static analysis
	@scripts/lint.sh

new: ## make new NAME=x: a new allocator that compiles, registers and passes
	@scripts/new.sh "$(NAME)"

clean: ## remove everything built
	@rm -rf build alloclab

help: ## this list
	@echo "make [MODE=release|asan|tsan] TARGET"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'
