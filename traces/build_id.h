/*
 * build_id.h - the GNU build id among an ELF file's notes, in memory or in the file, and as text.
 */
#ifndef ALLOCLAB_BUILD_ID_H
#define ALLOCLAB_BUILD_ID_H

#include <elf.h>
#include <stddef.h>
#include <string.h>

/* Where it is, and its length; 0: there is none, or the notes are damaged. Believes nothing. A note's
 * head is the same in 32-bit files. */
static inline size_t build_id_in(const char *note, const char *end, const void **id)
{
    Elf64_Nhdr head;
    while ((size_t)(end - note) >= sizeof head) {
        memcpy(&head, note, sizeof head);
        const char *name = note + sizeof head;
        size_t left = (size_t)(end - name), name_bytes = ((size_t)head.n_namesz + 3) / 4 * 4;
        if (name_bytes > left || head.n_descsz > left - name_bytes)
            return 0;
        *id = name + name_bytes;
        if (head.n_type == NT_GNU_BUILD_ID && head.n_namesz == 4 && !memcmp(name, "GNU", 4))
            return head.n_descsz;
        size_t bytes = name_bytes + ((size_t)head.n_descsz + 3) / 4 * 4;
        if (bytes > left)
            return 0;
        note = name + bytes;
    }
    return 0;
}

/* `hex` has room for two digits a byte, and a 0. */
static inline void build_id_hex(const unsigned char *id, size_t bytes, char *hex)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes; i++) {
        hex[2 * i] = digits[id[i] >> 4];
        hex[2 * i + 1] = digits[id[i] & 15];
    }
    hex[2 * bytes] = 0;
}

#endif
