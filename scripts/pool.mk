# pool.mk - liballoclab.a, the designs as a library for programs (api/alloclab.h), and make install. The library is one
# object in which every symbol but alloclab_* is local, so that a program may have an os_map of its own.

PREFIX       ?= /usr/local
OBJCOPY      ?= objcopy
POOL_VERSION := 0.1

POOL_SRC := $(wildcard allocators/*.c allocators/lib/*.c api/pool/*.c)
POOL_OBJ := $(POOL_SRC:%.c=$(BUILD)/pic/%.o) $(BUILD)/pic/designs.o
POOL_LIB := $(BUILD)/liballoclab.a
POOL_H   := alloclab.h alloclab.hpp alloclab_mark.h

all: $(POOL_LIB)
test-programs: $(if $(filter release,$(MODE)),$(POOL_LIB))

$(POOL_LIB): $(POOL_OBJ)
	@echo "  LINK  $@"; $(CC) -r -nostdlib -o $(BUILD)/pic/alloclab.o $^
	@$(OBJCOPY) --wildcard --keep-global-symbol='alloclab_*' $(BUILD)/pic/alloclab.o
	@rm -f $@; $(AR) qcs $@ $(BUILD)/pic/alloclab.o

$(BUILD)/pic/designs.o: $(BUILD)/designs.c $(BUILD)/flags | deps
	@mkdir -p $(@D); $(CC) $(PIC_CFLAGS) -c -o $@ $<

-include $(POOL_OBJ:.o=.d)

# The command finds the libraries that it preloads beside itself, behind the link in bin as well.
.PHONY: install
install: root = $(DESTDIR)$(PREFIX)
install: all ## install command, libraries, headers and pkg-config file: PREFIX=/usr/local DESTDIR=
	@install -d "$(root)/bin" "$(root)/include" "$(root)/lib/pkgconfig" "$(root)/lib/alloclab"
	@install -m 644 $(POOL_H:%=api/%) "$(root)/include"
	@install -m 644 $(POOL_LIB) "$(root)/lib"
	@sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(POOL_VERSION)|' scripts/alloclab.pc.in > "$(root)/lib/pkgconfig/alloclab.pc"
	@chmod 644 "$(root)/lib/pkgconfig/alloclab.pc"
	@install $(ALLOCLAB) $(BUILD)/liballoclab-*.so "$(root)/lib/alloclab"
	@ln -sf ../lib/alloclab/alloclab "$(root)/bin/alloclab"
	@echo "installed in $(root); pkg-config --cflags --libs alloclab"

.PHONY: uninstall
uninstall: root = $(DESTDIR)$(PREFIX)
uninstall: ## remove what make install put there: the same PREFIX and DESTDIR
	@rm -f "$(root)/bin/alloclab" $(POOL_H:%="$(root)/include/%") "$(root)/lib/liballoclab.a" \
	  "$(root)/lib/pkgconfig/alloclab.pc" "$(root)"/lib/alloclab/liballoclab-*.so "$(root)/lib/alloclab/alloclab"
	@rmdir "$(root)/lib/alloclab" 2>/dev/null || true
