#include "matches.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 256 /* places that are compared at a time, in vectors */

/* The matches of a text; a share is a range of rows. */
typedef struct {
    const int32_t *text;
    int64_t rows, width, steps;
    const int64_t *lengths;
    int64_t count, shares;
    char *memory; /* of each share: the end of the last match of each step; 16 bits of each symbol; codes */
    int64_t *found;
} matching;

static size_t memory_size(const matching *of) { /* a multiple of 8 bytes: the next share's begins there */
    return (size_t)of->steps * sizeof(int64_t) + (size_t)(of->width + of->width % 2) * 2 * sizeof(uint16_t);
}

/* Extend the codes of the `from` symbols that begin at each place to those of `length` symbols. */
static void extend_codes(const uint16_t *symbols, int64_t width, int64_t from, int64_t length, uint16_t *restrict codes) {
    for (int64_t i = from; i < length; i++)
        for (int64_t p = 0; p < width - i; p++) codes[p] = (uint16_t)(codes[p] * 0x6255u + symbols[p + i]);
}

/* The last of the places from `first` to `last` where the `length` symbols that begin at `present` occur, or `first` - 1. */
static int64_t latest_place(
    const int32_t *symbols, const uint16_t *codes, int64_t first, int64_t last, int64_t present, int64_t length) {
    const uint16_t code = codes[present];
    for (int64_t end = last + 1, begin; end > first; end = begin) {
        begin = end - first > BLOCK ? end - BLOCK : first;
        uint16_t any = 0;
        for (int64_t p = begin; p < end; p++) any |= codes[p] == code;
        for (int64_t p = end - 1; any && p >= begin; p--)
            if (codes[p] == code && !memcmp(symbols + p, symbols + present, (size_t)length * sizeof *symbols)) return p;
    }
    return first - 1;
}

/* Comparing codes in vectors costs the same for any text; a chain of the places with the same code would be as long as the
 * window in a text of one symbol. A longer match does not end later than a shorter one, so the search goes on from there. */
static void match_row(const matching *of, const int32_t *symbols, int64_t *ends, int64_t *found) {
    const int64_t window = of->width - of->steps;
    uint16_t *low = (uint16_t *)(ends + of->steps), *codes = low + of->width;
    for (int64_t p = 0; p < of->width; p++) low[p] = (uint16_t)symbols[p];
    for (int64_t k = 0, before = 0; k < of->count; k++, found += of->rows * of->steps) {
        const int64_t length = of->lengths[k];
        if (length < before) before = 0;
        if (!before) {
            memset(codes, 0, (size_t)of->width * sizeof *codes);
            for (int64_t step = 0; step < of->steps; step++) ends[step] = window + step - 1;
        }
        extend_codes(low, of->width, before, length, codes);
        before = length;
        for (int64_t step = 0; step < of->steps; step++) {
            const int64_t present = window + step - length + 1, last = ends[step] - length + 1;
            const int64_t place = symbols[present] ? latest_place(symbols, codes, step, last, present, length) : step - 1;
            ends[step] = place + length - 1;
            found[step] = place < step ? 0 : symbols[place + length]; /* 0 is before the text */
        }
    }
}

static void match_share(const void *argument, int64_t share) {
    const matching *of = argument;
    int64_t *ends = (int64_t *)(of->memory + (size_t)share * memory_size(of));
    const int64_t last = of->rows * (share + 1) / of->shares;
    for (int64_t row = of->rows * share / of->shares; row < last; row++)
        match_row(of, of->text + row * of->width, ends, of->found + row * of->steps);
}

int matches_find(
    const int32_t *text, int64_t rows, int64_t width, int64_t steps, const int64_t *lengths, int64_t count, int64_t *found,
    int64_t threads, parallel *start) {
    matching of = {text, rows, width, steps, lengths, count, threads, NULL, found};
    of.memory = malloc((size_t)threads * memory_size(&of));
    if (!of.memory) return 1;
    shares_run(match_share, &of, threads, start);
    free(of.memory);
    return 0;
}
