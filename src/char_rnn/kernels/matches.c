#include "matches.h"

#include <stdlib.h>
#include <string.h>

/* The matches of a text; a share is a range of rows. */
typedef struct {
    const int64_t *text;
    int64_t width, steps;
    const int64_t *lengths;
    int64_t count, slots;
    int32_t *tables;
    int64_t *found;
    int64_t rows, shares;
} matching;

static uint64_t code_of(const int64_t *symbols, int64_t length) {
    uint64_t code = 0;
    for (int64_t i = 0; i < length; i++) code = (code ^ (uint64_t)symbols[i]) * 0x9E3779B97F4A7C15u;
    return code ^ code >> 32;
}

/* The table has the latest place of each sequence of `length` symbols that has begun, and -1 in empty slots. */
static void match_row(const matching *of, int64_t row, int64_t length, int32_t *table, int64_t *found) {
    const int64_t *text = of->text + row * of->width;
    const int64_t window = of->width - of->steps, last = of->width - length;
    memset(table, 0xFF, (size_t)of->slots * sizeof *table);
    for (int64_t place = 0; place <= last; place++) {
        const int64_t step = place + length - 1 - window;
        int64_t followed = 0;
        if (text[place]) { /* 0 is before the text */
            uint64_t slot = code_of(text + place, length) & (uint64_t)(of->slots - 1);
            while (table[slot] >= 0 && memcmp(text + table[slot], text + place, (size_t)length * sizeof *text))
                slot = (slot + 1) & (uint64_t)(of->slots - 1);
            if (table[slot] >= 0 && place - table[slot] <= window - length + 1) followed = text[table[slot] + length];
            table[slot] = (int32_t)place;
        }
        if (step >= 0) found[step] = followed;
    }
}

static void match_share(const void *argument, int64_t share) {
    const matching *of = argument;
    int32_t *table = of->tables + share * of->slots;
    const int64_t last = of->rows * (share + 1) / of->shares;
    for (int64_t row = of->rows * share / of->shares; row < last; row++)
        for (int64_t k = 0; k < of->count; k++)
            match_row(of, row, of->lengths[k], table, of->found + (k * of->rows + row) * of->steps);
}

int matches_find(
    const int64_t *text, int64_t rows, int64_t width, int64_t steps, const int64_t *lengths, int64_t count, int64_t *found,
    int64_t threads, parallel *start) {
    int64_t slots = 2;
    while (slots < 2 * width) slots *= 2;
    int32_t *tables = malloc((size_t)(threads * slots) * sizeof *tables);
    if (!tables) return 1;
    const matching of = {text, width, steps, lengths, count, slots, tables, found, rows, threads};
    shares_run(match_share, &of, threads, start);
    free(tables);
    return 0;
}
