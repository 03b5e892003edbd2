/*
 * layout.h - the bytes of a trace file, shared by its writer and its reader; private to traces/.
 * docs/traces.md explains them; here are the numbers.
 *
 *     file header | block | block | ... | index block | trailer
 *     block = block header | directory, one entry a column | columns, in the directory's order
 *
 * Everything is little-endian. Numbers inside columns are prefix varints: the count of trailing one
 * bits of the first byte is the count of bytes that follow, so that a length is known from one byte
 * and decoding needs no branch that depends on the data.
 */
#ifndef ALLOCLAB_LAYOUT_H
#define ALLOCLAB_LAYOUT_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "traces/trace.h"

#define LAYOUT_MAGIC                                                                               \
    "\x89"                                                                                         \
    "ALT\r\n\x1a\n"
#define LAYOUT_END_MAGIC "ALTEND\r\n"
#define LAYOUT_VERSION   1u

enum {
    LAYOUT_HEADER_BYTES = 16, /* magic 8, version u32, reserved u32 */
    LAYOUT_BLOCK_BYTES = 32,  /* checksum u64, type u32, columns u32, body bytes u64, records u64 */
    LAYOUT_ENTRY_BYTES = 12,  /* tag u16, codec u16, stored bytes u32, raw bytes u32 */
    LAYOUT_TRAILER_BYTES = 24, /* offset of the index u64, its checksum u64, end magic 8 */

    LAYOUT_BLOCK_RECORDS =
        32768, /* most records of a block; every block but the last has as many */
    LAYOUT_MAX_COLUMNS = 64,
    LAYOUT_META_BYTES = 1 << 20, /* most bytes of the meta pairs */
    LAYOUT_META_PAIRS = 32768,   /* a recording has 12, a merged one those of all inputs */
    LAYOUT_META_BLOCKS = 64,
    LAYOUT_SITE_ROWS = 32768,       /* most rows of a block of sites */
    LAYOUT_STRINGS_BYTES = 1 << 20, /* most bytes of its strings */
    LAYOUT_ROWS_FIELDS = 10,        /* rows of each kind before the block, and in it */
    LAYOUT_BASE_BYTES =
        4096, /* most bytes of the base column and of the totals: room for more fields */
    LAYOUT_TOTALS_BYTES = 4096,
    LAYOUT_SPLIT_BYTES = 8, /* before the parts of a split column */
    LAYOUT_VARINT_BYTES = 9,
    LAYOUT_PAD_BYTES =
        16, /* readable past the end of a column in memory, so that a varint may be peeked */
};

enum layout_type { /* of a block: four characters, read as a little-endian number */
                   LAYOUT_META = 0x4154454d,  /* "META" */
                   LAYOUT_OPS = 0x2053504f,   /* "OPS " */
                   LAYOUT_SITES = 0x45544953, /* "SITE" */
                   LAYOUT_INDEX = 0x58444e49, /* "INDX" */
};

enum layout_codec {
    LAYOUT_RAW,
    LAYOUT_ZSTD,
    LAYOUT_SPLIT, /* of varints of ops: values u32, stored bytes of the first part u32, then the first
                     byte of each varint, then what follows them, each part as it is or compressed */
};

enum layout_tag {
    LAYOUT_BASE = 1, /* what is known before the block, see enum layout_base */
    LAYOUT_OP,       /* a byte a record: kind | flags << 4 */
    LAYOUT_OBJECT,   /* distance back from the newest object: files of before LAYOUT_REFERENCE */
    LAYOUT_SIZE,
    LAYOUT_ALIGN,  /* a byte: log2 */
    LAYOUT_THREAD, /* pairs: thread, count of records */
    LAYOUT_SCOPE,  /* 0 = none, else 1 + distance back from the newest scope */
    LAYOUT_CLOCK,  /* zigzag difference to the record before */
    LAYOUT_SITE,
    LAYOUT_OPS_TAGS,    /* one past the last column of an ops block */
    LAYOUT_PAIRS = 32,  /* meta block: lines "key=value\n" */
    LAYOUT_TOTALS = 48, /* index block: u64 each */
    LAYOUT_TABLE = 49,  /* index block: a row of u64 a block of ops */
    LAYOUT_ROWS = 64,   /* sites block: rows of each kind before the block, then in it, u64 each */
    LAYOUT_STRINGS,     /* each ended by a line feed */
    LAYOUT_MODULE_NAME, /* this and what follows: a varint a row, see sites_rows.h */
    LAYOUT_MODULE_BUILD,
    LAYOUT_MODULE_PATH,
    LAYOUT_PLACE_MODULE,
    LAYOUT_PLACE_OFFSET,
    LAYOUT_PLACE_FUNCTION,
    LAYOUT_PLACE_FILE,
    LAYOUT_PLACE_LINE,
    LAYOUT_FRAME_CALLER,
    LAYOUT_FRAME_PLACE,
    LAYOUT_SITE_NUMBER,
    LAYOUT_SITE_FRAME,
    LAYOUT_MUST = 0x8000, /* a reader that does not know a tag with this bit refuses the block */
    LAYOUT_REFERENCE = LAYOUT_MUST | LAYOUT_OBJECT, /* instead of it: see reference_of() */
};

enum layout_base {              /* u64 fields of the base column, and the tail of an index row */
                   BASE_RECORD, /* records before this block */
                   BASE_OBJECT, /* objects */
                   BASE_SCOPE,  /* scopes */
                   BASE_THREAD, /* threads */
                   BASE_CLOCK,  /* clock of the record before, 0 at the start */
                   BASE_FIELDS
};

/* An index row: offset of the block, its records, then the base fields. */
enum { ROW_OFFSET, ROW_RECORDS, ROW_BASE, ROW_FIELDS = ROW_BASE + BASE_FIELDS };

/* The totals in the file: these fields in this order, then one count a kind. */
enum { TOTALS_FIXED = 14, TOTALS_FIELDS = TOTALS_FIXED + TRACE_KINDS };

/* What a record holds, by its op byte; 0 = no such op. */
enum layout_shape {
    SHAPE_OP = 1,
    SHAPE_MAKES = 2, /* a new object, not stored: the next number */
    SHAPE_REF = 4,   /* an object reference is stored */
    SHAPE_SIZE = 8,
    SHAPE_ALIGN = 16,
    SHAPE_SCOPE = 32, /* a scope reference is stored */
    SHAPE_BEGIN = 64, /* a new scope, not stored: the next number */
    SHAPE_ENDS = 128, /* the object ends here */
};

extern const uint8_t layout_shapes[256];

static inline uint8_t layout_code(const struct trace_op *op)
{
    return (uint8_t)(op->kind | op->flags << 4);
}

static inline uint64_t load64(const void *p)
{
    uint64_t value;
    memcpy(&value, p, sizeof value);
    return le64toh(value);
}

static inline uint32_t load32(const void *p)
{
    uint32_t value;
    memcpy(&value, p, sizeof value);
    return le32toh(value);
}

static inline uint16_t load16(const void *p)
{
    uint16_t value;
    memcpy(&value, p, sizeof value);
    return le16toh(value);
}

static inline void store64(void *p, uint64_t value)
{
    value = htole64(value);
    memcpy(p, &value, sizeof value);
}

static inline void store32(void *p, uint32_t value)
{
    value = htole32(value);
    memcpy(p, &value, sizeof value);
}

static inline void store16(void *p, uint16_t value)
{
    value = htole16(value);
    memcpy(p, &value, sizeof value);
}

/* How many bytes follow the first one of a varint, by the number of the value's highest bit. */
extern const uint8_t layout_extra[64];

static inline unsigned varint_extra(uint64_t value)
{
    return layout_extra[63 ^ __builtin_clzll(value | 1)];
}

/* Writes a varint, touching LAYOUT_VARINT_BYTES bytes at p; returns how many of them it takes. */
static inline unsigned varint_put(uint8_t *p, uint64_t value)
{
    unsigned extra = varint_extra(value);
    if (extra > 7) {
        p[0] = 0xff;
        store64(p + 1, value);
        return 9;
    }
    store64(p, (value << (extra + 1)) | ((UINT64_C(1) << extra) - 1));
    return extra + 1;
}

/* Writes a varint whose first byte stands apart from the others, touching 8 bytes at `tail`; returns
 * how many of those it takes. */
static inline unsigned varint_put_split(uint8_t *first, uint8_t *tail, uint64_t value)
{
    unsigned extra = varint_extra(value);
    if (extra > 7) {
        *first = 0xff;
        store64(tail, value);
        return 8;
    }
    uint64_t word = (value << (extra + 1)) | ((UINT64_C(1) << extra) - 1);
    *first = (uint8_t)word;
    store64(tail, word >> 8);
    return extra;
}

/* Reads a varint, touching LAYOUT_VARINT_BYTES bytes at p; *bytes says how many of them it takes.
 */
static inline uint64_t varint_get(const uint8_t *p, unsigned *bytes)
{
    uint64_t word = load64(p);
    unsigned extra = (unsigned)__builtin_ctzll(~word | 0x100);
    if (__builtin_expect(extra == 8, 0)) {
        *bytes = 9;
        return load64(p + 1);
    }
    *bytes = extra + 1;
    return word << (56 - 8 * extra) >> (57 - 7 * extra);
}

/* Reads a varint whose first byte stands apart from the others; touches 8 bytes at `tail`, of which it
 * takes *bytes. */
static inline uint64_t varint_get_split(uint8_t first, const uint8_t *tail, unsigned *bytes)
{
    uint64_t rest = load64(tail);
    unsigned extra = (unsigned)__builtin_ctzll(~(uint64_t)first | 0x100);
    *bytes = extra;
    if (__builtin_expect(extra == 8, 0))
        return rest;
    return (rest << 8 | first) << (56 - 8 * extra) >> (57 - 7 * extra);
}

static inline uint64_t zigzag(uint64_t difference)
{
    return difference << 1 ^ (0 - (difference >> 63));
}

static inline uint64_t unzigzag(uint64_t value)
{
    return value >> 1 ^ (0 - (value & 1));
}

/*
 * An object that is referred to: 2 * the distance back from the newest one, or 1 + 2 * the zigzag
 * difference to the one that was referred to before, in the block; whichever is less. What a program
 * frees in a row it mostly made in a row, or in steps; and what it frees just after making something
 * is mostly new.
 */
static inline uint64_t reference_of(uint64_t object, uint64_t newest, uint64_t before)
{
    uint64_t back = newest - object, step = zigzag(object - before);
    return back <= step ? back << 1 : step << 1 | 1;
}

/* The totals as they stand in the file, and back. */
void layout_totals_put(uint8_t *bytes, const struct trace_totals *totals);
void layout_totals_get(const uint8_t *bytes, struct trace_totals *totals);

#endif
