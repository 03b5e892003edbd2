/*
 * unwind.c - rules out of .eh_frame: the binary search table in front of it, the function's entry
 * (FDE) and what it shares with others (CIE), and their little programs, run up to the instruction
 * at hand. The bytes are the Linux Standard Base's and DWARF's.
 *
 * Only what .eh_frame_hdr's usual form and the usual rules need is understood: the return address
 * lies below the caller's stack pointer. Anything else is an end.
 */
#include "traces/recorder/unwind.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#include "traces/recorder/glibc.h"

#if defined(__x86_64__)

enum { REG_BP = 6, REG_SP = 7, REG_RETURN = 16 };

enum { /* encodings of pointers */
       PE_ABSOLUTE = 0x00,
       PE_UDATA4 = 0x03,
       PE_SDATA4 = 0x0b,
       PE_UDATA8 = 0x04,
       PE_SDATA8 = 0x0c,
       PE_RELATIVE = 0x10,       /* to where it stands */
       PE_TABLE_RELATIVE = 0x30, /* to the table */
       PE_OMIT = 0xff,
};

enum { /* of the little programs */
       CFA_ADVANCE = 0x40,
       CFA_OFFSET = 0x80,
       CFA_RESTORE = 0xc0,
       CFA_NOP = 0,
       CFA_SET_LOC,
       CFA_ADVANCE_1,
       CFA_ADVANCE_2,
       CFA_ADVANCE_4,
       CFA_OFFSET_EXTENDED,
       CFA_RESTORE_EXTENDED,
       CFA_UNDEFINED,
       CFA_SAME_VALUE,
       CFA_REGISTER,
       CFA_REMEMBER,
       CFA_RECALL,
       CFA_DEF,
       CFA_DEF_REGISTER,
       CFA_DEF_OFFSET,
       CFA_DEF_EXPRESSION,
       CFA_EXPRESSION,
       CFA_OFFSET_EXTENDED_SF,
       CFA_DEF_SF,
       CFA_DEF_OFFSET_SF,
       CFA_VAL_OFFSET,
       CFA_VAL_OFFSET_SF,
       CFA_VAL_EXPRESSION,
       CFA_ARGS_SIZE = 0x2e,
};

enum { /* of expressions */
       OP_DEREF = 0x06,
       OP_AND = 0x1a,
       OP_PLUS = 0x22,
       OP_SHL = 0x24,
       OP_GE = 0x2a,
       OP_LIT = 0x30,
       OP_BREG = 0x70,
};

enum { /* of what is not nonsense; the tables themselves are trusted, as by whoever throws */
       MOST_TABLE_BYTES = 1 << 30,
       MOST_ENTRY_BYTES = 1 << 20,
};

struct bytes { /* read from the front; past the end it reads 0 and is bad */
    const uint8_t *at, *end;
    bool bad;
};

static uint64_t take(struct bytes *b, unsigned count)
{
    uint64_t value = 0;
    if ((size_t)(b->end - b->at) < count) {
        b->bad = true;
        return 0;
    }
    memcpy(&value, b->at, count);
    b->at += count;
    return value;
}

static uint64_t take_uleb(struct bytes *b)
{
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = (uint8_t)take(b, 1);
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80) || b->bad)
            return value;
    }
}

static int64_t take_sleb(struct bytes *b)
{
    uint64_t value = 0;
    for (unsigned shift = 0;;) {
        uint8_t byte = (uint8_t)take(b, 1);
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
        if (byte & 0x80 && !b->bad)
            continue;
        return (int64_t)(byte & 0x40 && shift < 64 ? value | ~UINT64_C(0) << shift : value);
    }
}

static struct bytes take_block(struct bytes *b)
{
    uint64_t count = take_uleb(b);
    struct bytes block = {b->at, b->at, b->bad};
    if (b->bad || count > (uint64_t)(b->end - b->at)) {
        b->bad = true;
        return block;
    }
    b->at += count;
    block.end = b->at;
    return block;
}

static uint64_t take_pointer(struct bytes *b, uint8_t encoding, uintptr_t table)
{
    uintptr_t here = (uintptr_t)b->at;
    uint64_t value = 0;
    switch (encoding & 0x0f) {
    case PE_ABSOLUTE:
    case PE_UDATA8:
    case PE_SDATA8:
        value = take(b, 8);
        break;
    case PE_UDATA4:
        value = take(b, 4);
        break;
    case PE_SDATA4:
        value = (uint64_t)(int64_t)(int32_t)take(b, 4);
        break;
    default:
        b->bad = true;
    }
    switch (encoding & 0x70) {
    case PE_ABSOLUTE:
        return value;
    case PE_RELATIVE:
        return value + here;
    case PE_TABLE_RELATIVE:
        return value + table;
    }
    b->bad = true;
    return 0;
}

/* ---- the entry of a function ---- */

struct entry {
    struct bytes shared, own; /* the little programs of CIE and FDE */
    uint64_t from;            /* of the function */
    uint64_t code_unit;
    int64_t data_unit;
    uint8_t encoding;
    bool is_signal;
};

/* The FDE's address by the table; NULL: none, or another form of table. */
static const uint8_t *table_find(const uint8_t *table, uintptr_t at)
{
    struct bytes b = {table, table + MOST_TABLE_BYTES, false};
    uint64_t head = take(&b, 4);
    uint8_t start_encoding = head >> 8 & 0xff, count_encoding = head >> 16 & 0xff;
    if ((head & 0xff) != 1 || head >> 24 != (PE_TABLE_RELATIVE | PE_SDATA4))
        return NULL;
    take_pointer(&b, start_encoding, (uintptr_t)table);
    uint64_t count = take_pointer(&b, count_encoding, (uintptr_t)table), low = 0;
    if (b.bad || count == 0 || count > (uint64_t)(b.end - b.at) / 8)
        return NULL;
    int64_t wanted = (int64_t)(at - (uintptr_t)table);
    while (count > 1) { /* the last row that is not beyond: it lies in low .. low + count - 1 */
        uint64_t half = count / 2;
        int32_t from;
        memcpy(&from, b.at + 8 * (low + half), sizeof from);
        low += from <= wanted ? half : 0;
        count = from <= wanted ? count - half : half;
    }
    int32_t row[2];
    memcpy(row, b.at + 8 * low, sizeof row);
    return row[0] <= wanted ? table + row[1] : NULL;
}

/* A CIE or FDE without its length. */
static struct bytes record_open(const uint8_t *at)
{
    struct bytes b = {at, at + 4, false};
    uint64_t length = take(&b, 4);
    b.bad = length == 0 || length > MOST_ENTRY_BYTES;
    b.end = b.bad ? b.at : b.at + length;
    return b;
}

static bool cie_read(struct entry *e, const uint8_t *at)
{
    struct bytes b = record_open(at);
    if (take(&b, 4) != 0)
        return false;
    uint8_t version = (uint8_t)take(&b, 1);
    const char *letters = (const char *)b.at;
    size_t length = strnlen(letters, (size_t)(b.end - b.at));
    b.at += length;
    take(&b, 1);
    if (b.bad || (version != 1 && version != 3) || (length && letters[0] != 'z'))
        return false;
    e->code_unit = take_uleb(&b);
    e->data_unit = take_sleb(&b);
    uint64_t returns = version == 1 ? take(&b, 1) : take_uleb(&b);
    e->encoding = PE_ABSOLUTE;
    struct bytes more = {b.at, b.at, false};
    if (length)
        more = take_block(&b);
    for (size_t i = 1; i < length; i++) {
        if (letters[i] == 'R')
            e->encoding = (uint8_t)take(&more, 1);
        else if (letters[i] == 'L')
            take(&more, 1);
        else if (letters[i] == 'P')
            take_pointer(&more, take(&more, 1) & 0x0f, 0);
        else if (letters[i] == 'S')
            e->is_signal = true;
        else
            return false;
    }
    e->shared = b;
    return !b.bad && !more.bad && returns == REG_RETURN;
}

static bool entry_find(struct entry *e, uintptr_t at)
{
    struct dl_find_object found;
    if (_dl_find_object((void *)at, &found) != 0 || !found.dlfo_eh_frame)
        return false;
    const uint8_t *fde = table_find(found.dlfo_eh_frame, at);
    if (!fde)
        return false;
    struct bytes b = record_open(fde);
    const uint8_t *here = b.at;
    uint64_t back = take(&b, 4);
    if (b.bad || back == 0 || !cie_read(e, here - back))
        return false;
    e->from = take_pointer(&b, e->encoding, 0);
    uint64_t bytes = take_pointer(&b, e->encoding & 0x0f, 0);
    take_block(&b); /* of the augmentation */
    e->own = b;
    return !b.bad && at - e->from < bytes;
}

/* ---- the little programs ---- */

enum where { SAME, AT_OFFSET, AT_EXPRESSION, ELSEWHERE, NOWHERE };

struct place { /* of a register of the caller */
    enum where where;
    int64_t offset; /* from the caller's stack pointer */
    struct bytes expression;
};

struct row { /* what holds at an instruction */
    uint64_t cfa_register;
    int64_t cfa_offset;
    struct bytes cfa_expression; /* if there is one */
    struct place bp, returns;
};

struct machine {
    struct row row, first, kept[4]; /* now; after the CIE's program; remembered */
    unsigned kept_count;
    uint64_t location, wanted;
    const struct entry *entry;
    bool stuck;
};

static struct place *place_of(struct row *row, uint64_t reg)
{
    return reg == REG_BP ? &row->bp : reg == REG_RETURN ? &row->returns : NULL;
}

static void place_set(struct machine *m, uint64_t reg, struct place p)
{
    struct place *place = place_of(&m->row, reg);
    if (place)
        *place = p;
}

static void place_restore(struct machine *m, uint64_t reg)
{
    if (place_of(&m->row, reg))
        *place_of(&m->row, reg) = *place_of(&m->first, reg);
}

static void cfa_set(struct machine *m, uint64_t reg, int64_t offset)
{
    m->row.cfa_register = reg;
    m->row.cfa_offset = offset;
    m->row.cfa_expression = (struct bytes){0};
}

static void remember(struct machine *m)
{
    if (m->kept_count == sizeof m->kept / sizeof *m->kept)
        m->stuck = true;
    else
        m->kept[m->kept_count++] = m->row;
}

static void recall(struct machine *m)
{
    if (m->kept_count == 0)
        m->stuck = true;
    else
        m->row = m->kept[--m->kept_count];
}

/* Those that say where a register is. False: it is none of them. */
static bool step_register(struct machine *m, struct bytes *b, unsigned op)
{
    if (op < CFA_OFFSET_EXTENDED || (op > CFA_REGISTER && op < CFA_EXPRESSION) ||
        (op > CFA_OFFSET_EXTENDED_SF && op < CFA_VAL_OFFSET) || op > CFA_VAL_EXPRESSION)
        return false;
    uint64_t reg = take_uleb(b);
    struct place p = {.where = ELSEWHERE};
    if (op == CFA_OFFSET_EXTENDED) {
        p = (struct place){.where = AT_OFFSET,
                           .offset = (int64_t)take_uleb(b) * m->entry->data_unit};
    } else if (op == CFA_OFFSET_EXTENDED_SF) {
        p = (struct place){.where = AT_OFFSET, .offset = take_sleb(b) * m->entry->data_unit};
    } else if (op == CFA_UNDEFINED) {
        p.where = NOWHERE;
    } else if (op == CFA_SAME_VALUE) {
        p.where = SAME;
    } else if (op == CFA_EXPRESSION) {
        p = (struct place){.where = AT_EXPRESSION, .expression = take_block(b)};
    } else if (op == CFA_VAL_EXPRESSION) {
        take_block(b);
    } else if (op == CFA_RESTORE_EXTENDED) {
        place_restore(m, reg);
        return true;
    } else {
        take_uleb(b); /* the other register, or the offset */
    }
    place_set(m, reg, p);
    return true;
}

static void step_rest(struct machine *m, struct bytes *b, unsigned op)
{
    uint64_t reg;
    switch (op) {
    case CFA_NOP:
        return;
    case CFA_SET_LOC:
        m->location = take_pointer(b, m->entry->encoding, 0);
        return;
    case CFA_ADVANCE_1:
    case CFA_ADVANCE_2:
    case CFA_ADVANCE_4:
        m->location += take(b, 1u << (op - CFA_ADVANCE_1)) * m->entry->code_unit;
        return;
    case CFA_REMEMBER:
        remember(m);
        return;
    case CFA_RECALL:
        recall(m);
        return;
    case CFA_DEF:
        reg = take_uleb(b);
        cfa_set(m, reg, (int64_t)take_uleb(b));
        return;
    case CFA_DEF_SF:
        reg = take_uleb(b);
        cfa_set(m, reg, take_sleb(b) * m->entry->data_unit);
        return;
    case CFA_DEF_REGISTER:
        m->row.cfa_register = take_uleb(b);
        return;
    case CFA_DEF_OFFSET:
        m->row.cfa_offset = (int64_t)take_uleb(b);
        return;
    case CFA_DEF_OFFSET_SF:
        m->row.cfa_offset = take_sleb(b) * m->entry->data_unit;
        return;
    case CFA_DEF_EXPRESSION:
        m->row.cfa_expression = take_block(b);
        return;
    case CFA_ARGS_SIZE:
        take_uleb(b);
        return;
    }
    m->stuck = true;
}

/* Runs up to the instruction that is wanted. */
static void run(struct machine *m, struct bytes b)
{
    while (b.at < b.end && m->location <= m->wanted && !b.bad && !m->stuck) {
        unsigned op = (unsigned)take(&b, 1), low = op & 0x3f;
        if ((op & 0xc0) == CFA_ADVANCE)
            m->location += low * m->entry->code_unit;
        else if ((op & 0xc0) == CFA_OFFSET)
            place_set(m, low,
                      (struct place){.where = AT_OFFSET,
                                     .offset = (int64_t)take_uleb(&b) * m->entry->data_unit});
        else if ((op & 0xc0) == CFA_RESTORE)
            place_restore(m, low);
        else if (!step_register(m, &b, op))
            step_rest(m, &b, op);
    }
    m->stuck |= b.bad;
}

/* ---- rules ---- */

static bool fits(int64_t bytes, unsigned bits)
{
    int64_t half = INT64_C(8) << (bits - 1);
    return bytes % 8 == 0 && bytes >= -half && bytes < half;
}

static uint32_t rule_make(enum unwind_kind kind, int64_t offset, enum unwind_frame_pointer bp,
                          int64_t bp_offset)
{
    if (!fits(offset, UNWIND_OFFSET_BITS) || !fits(bp_offset, UNWIND_BP_OFFSET_BITS))
        return UNWIND_END;
    uint32_t offset_mask = (1u << UNWIND_OFFSET_BITS) - 1,
             bp_mask = (1u << UNWIND_BP_OFFSET_BITS) - 1;
    return kind | (uint32_t)bp << UNWIND_BP_KIND_AT |
           ((uint32_t)(bp_offset / 8) & bp_mask) << UNWIND_BP_OFFSET_AT |
           ((uint32_t)(offset / 8) & offset_mask) << UNWIND_OFFSET_AT;
}

/* The kernel's way back from a signal handler, in the C library: mov $15,%rax; syscall. */
static bool is_signal_return(uintptr_t at)
{
    static const uint8_t code[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};
    return memcmp((const void *)(at + 1), code, sizeof code) == 0;
}

/* The expressions that compilers and linkers make. False: another one. */
static bool cfa_evaluate(struct bytes b, uintptr_t at, enum unwind_kind *kind, int64_t *offset)
{
    uint64_t first = take(&b, 1);
    *offset = take_sleb(&b);
    size_t left = (size_t)(b.end - b.at);
    if (first == OP_BREG + REG_BP && left == 1 && *b.at == OP_DEREF) {
        *kind = UNWIND_BP_AT; /* a function that aligns its stack */
        return true;
    }
    if (first == OP_BREG + REG_SP && left == 9 && b.at[2] == OP_LIT + 15 && b.at[3] == OP_AND &&
        b.at[5] == OP_GE && b.at[6] == OP_LIT + 3 && b.at[7] == OP_SHL && b.at[8] == OP_PLUS) {
        *kind = UNWIND_SP; /* the linker's stubs for calls of other libraries */
        *offset += (int)(at & 15) >= b.at[4] - OP_LIT ? 8 : 0;
        return true;
    }
    return false;
}

static uint32_t rule_of(const struct row *row, uintptr_t at)
{
    enum unwind_kind kind = row->cfa_register == REG_SP ? UNWIND_SP : UNWIND_BP;
    int64_t offset = row->cfa_offset;
    if (row->returns.where != AT_OFFSET || row->returns.offset != -8)
        return UNWIND_END;
    if (row->cfa_expression.at) {
        if (!cfa_evaluate(row->cfa_expression, at, &kind, &offset))
            return UNWIND_END;
    } else if (row->cfa_register != REG_SP && row->cfa_register != REG_BP) {
        return UNWIND_END;
    }
    if (row->bp.where == SAME)
        return rule_make(kind, offset, UNWIND_BP_SAME, 0);
    if (row->bp.where == AT_OFFSET)
        return rule_make(kind, offset, UNWIND_BP_SAVED, row->bp.offset);
    struct bytes b = row->bp.expression;
    if (row->bp.where == AT_EXPRESSION && take(&b, 1) == OP_BREG + REG_BP) {
        int64_t near = take_sleb(&b);
        if (b.at == b.end && !b.bad)
            return rule_make(kind, offset, UNWIND_BP_SAVED_NEAR, near);
    }
    return UNWIND_END;
}

uint32_t unwind_find(uintptr_t at)
{
    struct entry e = {0};
    if (!entry_find(&e, at))
        return UNWIND_END;
    if (e.is_signal)
        return is_signal_return(at) ? UNWIND_SIGNAL : UNWIND_END;
    struct machine m = {.entry = &e, .wanted = UINT64_MAX};
    run(&m, e.shared);
    m.first = m.row;
    m.location = e.from;
    m.wanted = at;
    run(&m, e.own);
    return m.stuck ? UNWIND_END : rule_of(&m.row, at);
}

#else

uint32_t unwind_find(uintptr_t at)
{
    (void)at;
    return UNWIND_END;
}

#endif
