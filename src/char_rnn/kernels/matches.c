#include "matches.h"

#include <stdlib.h>
#include <string.h>

#define FILTER (1 << 13) /* a power of two */

/* The matches of a text; a share is a range of rows. */
typedef struct {
    const int64_t *text;
    int64_t rows, width, steps;
    const int64_t *lengths;
    int64_t count, slots, shares;
    int32_t *memory;
    int64_t *found;
} matching;

/* Compute a code of the `length` symbols from each of `count` places on: a sum, so that the loops are vectorized. */
static void find_codes(const int32_t *restrict symbols, int64_t count, int64_t length, uint32_t *restrict codes) {
    memset(codes, 0, (size_t)count * sizeof *codes);
    uint32_t factor = 0x9E3779B1u;
    for (int64_t i = 0; i < length; i++, factor *= 0x85EBCA6Bu)
        for (int64_t place = 0; place < count; place++) codes[place] += (uint32_t)symbols[place + i] * factor;
    for (int64_t place = 0; place < count; place++) codes[place] = (codes[place] ^ codes[place] >> 15) * 0x2C1B3C6Du >> 3;
}

/* The table has the latest place of each sequence of `length` symbols, and -1 in empty slots. Only sequences whose code
 * passes the filter, which has the codes of all steps, can be those of a step. */
static void match_row(const matching *of, const int32_t *symbols, uint32_t *codes, int32_t *table, int64_t length, int64_t *found) {
    const int64_t window = of->width - of->steps, count = of->width - length + 1, first = window - length + 1;
    uint8_t filter[FILTER] = {0};
    find_codes(symbols, count, length, codes);
    for (int64_t place = first; place < count; place++) filter[codes[place] & (FILTER - 1)] = 1;
    memset(table, 0xFF, (size_t)of->slots * sizeof *table);
    memset(found, 0, (size_t)of->steps * sizeof *found);
    for (int64_t place = 0; place < count; place++) {
        if (!filter[codes[place] & (FILTER - 1)] || !symbols[place]) continue; /* 0 is before the text */
        uint32_t slot = codes[place] & (uint32_t)(of->slots - 1);
        while (table[slot] >= 0 && memcmp(symbols + table[slot], symbols + place, (size_t)length * sizeof *symbols))
            slot = (slot + 1) & (uint32_t)(of->slots - 1);
        if (place >= first && table[slot] >= 0 && place - table[slot] <= first) found[place - first] = symbols[table[slot] + length];
        table[slot] = (int32_t)place;
    }
}

static void match_share(const void *argument, int64_t share) {
    const matching *of = argument;
    int32_t *table = of->memory + share * (of->slots + 2 * of->width), *symbols = table + of->slots;
    uint32_t *codes = (uint32_t *)(symbols + of->width);
    const int64_t last = of->rows * (share + 1) / of->shares;
    for (int64_t row = of->rows * share / of->shares; row < last; row++) {
        for (int64_t place = 0; place < of->width; place++) symbols[place] = (int32_t)of->text[row * of->width + place];
        for (int64_t k = 0; k < of->count; k++)
            match_row(of, symbols, codes, table, of->lengths[k], of->found + (k * of->rows + row) * of->steps);
    }
}

int matches_find(
    const int64_t *text, int64_t rows, int64_t width, int64_t steps, const int64_t *lengths, int64_t count, int64_t *found,
    int64_t threads, parallel *start) {
    int64_t slots = 2;
    while (slots < 2 * width) slots *= 2;
    int32_t *memory = malloc((size_t)(threads * (slots + 2 * width)) * sizeof *memory);
    if (!memory) return 1;
    const matching of = {text, rows, width, steps, lengths, count, slots, threads, memory, found};
    shares_run(match_share, &of, threads, start);
    free(memory);
    return 0;
}
