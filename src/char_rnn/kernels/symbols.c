#include <string.h>

#include "train.h"

/* The sums of the rows of each symbol; a share is a range of units. */
typedef struct {
    int64_t shares;
    const float *rows;
    int64_t stride;
    const int64_t *symbols;
    int64_t count;
    float *table;
    int64_t table_rows, width;
} summing;

static void sum_share(const void *argument, int64_t share) {
    const summing *of = argument;
    const int64_t first = of->width * share / of->shares, width = of->width * (share + 1) / of->shares - first;
    for (int64_t row = 0; row < of->table_rows; row++)
        memset(of->table + row * of->width + first, 0, (size_t)width * sizeof(float));
    for (int64_t i = 0; i < of->count; i++) {
        const float *restrict from = of->rows + i * of->stride + first;
        float *restrict to = of->table + of->symbols[i] * of->width + first;
        for (int64_t j = 0; j < width; j++) to[j] += from[j];
    }
}

void train_sum_by_symbol(
    const float *rows, int64_t stride, const int64_t *symbols, int64_t count, float *table, int64_t table_rows, int64_t width,
    int64_t threads, parallel *start) {
    const summing of = {threads, rows, stride, symbols, count, table, table_rows, width};
    shares_run(sum_share, &of, threads, start);
}
