# dropin.mk - the drop-in libraries: for each design that can stand in for malloc (api/dropin.h says which, and the
# program that was just built tells), one compilation of the template api/malloc.c with that design's text in it, linked
# with allocators/lib. Release code in every mode: they go into programs that know of no sanitizer.

DROPIN_OBJ := $(patsubst %.c,$(BUILD)/pic/%.o,$(wildcard allocators/lib/*.c) api/malloc_setting.c)

# The list is known once the program is there; `make -n` before the first build has none. A cross build asks this
# machine's own program.
LISTER ?= $(ALLOCLAB)

.PHONY: dropins
dropins: $(ALLOCLAB) $(DROPIN_OBJ)
	+@test ! -x $(ALLOCLAB) || { names=$$($(LISTER) exec --list) && \
	  $(MAKE) --no-print-directory MODE=$(MODE) BUILD=$(BUILD) DROPINS="$$names" dropin-libraries; }

.PHONY: dropin-libraries
dropin-libraries: $(DROPINS:%=$(BUILD)/liballoclab-%.so)

all: dropins
test-programs: $(if $(filter release,$(MODE)),dropins)

# -fno-builtin-*: a compiler may make calloc of malloc and memset, which here would call itself. -fexceptions: operator
# new lets bad_alloc through. What no library uses of lib is left out.
$(BUILD)/pic/dropin/%.o: allocators/%.c api/malloc.c $(BUILD)/flags | deps
	@mkdir -p $(@D); echo "  CC    api/malloc.c ($*)"
	@$(CC) $(PIC_CFLAGS) -fno-plt -fexceptions -fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc \
	  -fno-builtin-free -DDESIGN=$* -DDESIGN_FILE='"$<"' -c -o $@ api/malloc.c

$(BUILD)/liballoclab-%.so: $(BUILD)/pic/dropin/%.o $(DROPIN_OBJ)
	@echo "  LINK  $@"
	@$(CC) -shared -o $@ $^ -pthread -Wl,-z,now,-z,relro,-z,nodelete,--gc-sections,--as-needed -lm

.SECONDARY: $(DROPIN_OBJ) $(ALLOCATORS:%=$(BUILD)/pic/dropin/%.o)
-include $(wildcard $(BUILD)/pic/dropin/*.d) $(DROPIN_OBJ:.o=.d)
