# cross.mk - builds for other architectures, and the proof on emulated machines that counters count. The compilers are
# Debian's, the libraries come from the other architecture's own packages and are linked statically, all but the C
# library: what is built runs on a Debian of that architecture as it is.

CROSS_arm64   := aarch64-linux-gnu
CROSS_riscv64 := riscv64-linux-gnu
CROSS          = $(or $(CROSS_$(ARCH)),$(error ARCH=$(ARCH): use arm64 or riscv64))
CROSS_ROOT     = build/foreign/$(ARCH)/files/usr
CROSS_LIBS    := libzstd-dev libxxhash-dev zlib1g-dev libpfm4-dev
CROSS_MAKE     = $(MAKE) --no-print-directory MODE=release BUILD=build/$(ARCH) CC="$(CROSS)-gcc -isystem $(CROSS_ROOT)/include" \
                 AR=$(CROSS)-ar OBJCOPY=$(CROSS)-objcopy LIBS="-L$(CROSS_ROOT)/lib/$(CROSS) $(LIBS)" LISTER=$(ALLOCLAB)

.PHONY: cross-deps
cross-deps: | deps
	@scripts/install.sh cross

.PHONY: cross
cross: alloclab | cross-deps ## build for another architecture into build/ARCH: make cross ARCH=arm64 or riscv64
	@scripts/foreign.sh $(ARCH) build/foreign/$(ARCH) $(CROSS_LIBS)
	+@$(CROSS_MAKE) all build/$(ARCH)/pmu-guest

$(BUILD)/pmu-guest: tests/pmu/guest.c $(ALL_LIB)
	@echo "  LINK  $@"; $(CC) $(CFLAGS) -MF $@.d -o $@ $< $(ALL_LIB) $(LIBS)
-include $(wildcard $(BUILD)/pmu-guest.d)

.PHONY: prove-pmu
prove-pmu: | deps ## counters on emulated machines whose PMU counts: arm64 and riscv64 under qemu; ARCH=.. one alone
	@scripts/install.sh emulator
	+@for arch in $(or $(ARCH),arm64 riscv64); do $(MAKE) --no-print-directory cross ARCH=$$arch && \
	  scripts/foreign.sh $$arch build/foreign/$$arch linux busybox-static || exit 2; done
	@$(PYTHON) tests/pmu/prove.py $(or $(ARCH),arm64 riscv64)
