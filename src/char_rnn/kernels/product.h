/* A template: products of one packed matrix with the vectors of several streams.
 *
 * Define REAL, WEIGHT, NAME(x) and LOAD_WEIGHTS(w), which loads a vector of REAL from the weights at w, before including it.
 * INPUT is the type of a vector's numbers if it is not REAL; then ADD_PRODUCT(sum, w, x) adds the products to the sums. All
 * but REAL are undefined at the end.
 *
 * A matrix (rows, columns) is packed in blocks of ROWS rows, each block column by column. A machine vector holds
 * adjacent rows, so that every sum is computed column by column in one lane: the result is the same to the bit for any
 * vector width, any number of streams and any number of threads.
 */

#ifndef INPUT
#define INPUT REAL
#define ADD_PRODUCT(sum, w, x) sum += (w) * (x)
#endif

typedef REAL NAME(vector) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));

#define VECTOR NAME(vector)
#define LANES ((int)(VECTOR_BYTES / sizeof(REAL)))
#define VECTORS (ROWS / LANES)
/* Streams that share each loaded weight; for a single stream, blocks that hide each other's latency. */
#define MOST_STREAMS (ACCUMULATORS / VECTORS > 12 ? 12 : ACCUMULATORS / VECTORS > 0 ? ACCUMULATORS / VECTORS : 1)
#define MOST_BLOCKS (8 / VECTORS > 0 ? 8 / VECTORS : 1)

static inline __attribute__((always_inline)) void NAME(tile)(
    const WEIGHT *weights, int64_t columns, const INPUT *const *x, REAL (*sums)[ROWS], const int blocks, const int streams) {
    VECTOR sum[MOST_STREAMS > MOST_BLOCKS ? MOST_STREAMS : MOST_BLOCKS][VECTORS];
#pragma GCC unroll 16
    for (int tile = 0; tile < blocks * streams; tile++)
#pragma GCC unroll 16
        for (int v = 0; v < VECTORS; v++) sum[tile][v] = (VECTOR){0};
    for (int64_t column = 0; column < columns; column++) {
#pragma GCC unroll 16
        for (int block = 0; block < blocks; block++) {
            VECTOR w[VECTORS];
#pragma GCC unroll 16
            for (int v = 0; v < VECTORS; v++) w[v] = LOAD_WEIGHTS(weights + (block * columns + column) * ROWS + v * LANES);
#pragma GCC unroll 16
            for (int stream = 0; stream < streams; stream++)
#pragma GCC unroll 16
                for (int v = 0; v < VECTORS; v++)
                    ADD_PRODUCT(sum[block * streams + stream][v], w[v], x[stream][column]);
        }
    }
#pragma GCC unroll 16
    for (int tile = 0; tile < blocks * streams; tile++)
#pragma GCC unroll 16
        for (int v = 0; v < VECTORS; v++) *(VECTOR *)(sums[tile] + v * LANES) = sum[tile][v];
}

/* Dispatch on the number of streams, so that the sums stay in registers. */
static __attribute__((noinline)) void NAME(streams)(
    const WEIGHT *weights, int64_t columns, const INPUT *const *x, REAL (*sums)[ROWS], int streams) {
    switch (streams) {
#define CASE(number)                                                                                                   \
    case number:                                                                                                       \
        if (number <= MOST_STREAMS) NAME(tile)(weights, columns, x, sums, 1, number <= MOST_STREAMS ? number : 1);     \
        return;
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#undef CASE
    }
}

static inline __attribute__((always_inline)) void NAME(put)(
    const REAL *sums, const REAL *scales, const REAL *begin, REAL *out, const int number) {
    for (int r = 0; r < number; r++) out[r] = (begin ? begin[r] : 0) + (scales ? scales[r] * sums[r] : sums[r]);
}

/* A constant number of streams gives whole vectors. */
static inline void NAME(finish)(const REAL *sums, const REAL *scales, const REAL *begin, REAL *out, int number) {
    if (number == ROWS)
        NAME(put)(sums, scales, begin, out, ROWS);
    else
        NAME(put)(sums, scales, begin, out, number);
}

/* y = W x, or start + W x if `start` is not NULL, for the blocks from first to before last of W. `start` may be y. */
static void NAME(product)(
    const WEIGHT *weights,
    const REAL *scales,
    int64_t rows,
    int64_t columns,
    int64_t first,
    int64_t last,
    int64_t count,
    const INPUT *const *x,
    const REAL *const *start,
    REAL *const *y) {
    REAL sums[MOST_STREAMS > MOST_BLOCKS ? MOST_STREAMS : MOST_BLOCKS][ROWS];
    for (int64_t block = first; block < last;) {
        const int several = count == 1 && last - block >= MOST_BLOCKS ? MOST_BLOCKS : 1;
        for (int64_t stream = 0; stream < count;) {
            const int64_t left = count - stream, tiles = (left + MOST_STREAMS - 1) / MOST_STREAMS;
            const int streams = (int)((left + tiles - 1) / tiles); /* tiles of about one size */
            const WEIGHT *own = weights + block * columns * ROWS;
            if (several > 1)
                NAME(tile)(own, columns, x, sums, MOST_BLOCKS, 1);
            else
                NAME(streams)(own, columns, x + stream, sums, streams);
            for (int tile = 0; tile < several * streams; tile++) {
                const int64_t row = (block + (several > 1 ? tile : 0)) * ROWS;
                const int number = rows - row < ROWS ? (int)(rows - row) : ROWS;
                const int64_t of = stream + (several > 1 ? 0 : tile);
                const REAL *begin = start ? start[of] + row : NULL;
                REAL *out = y[of] + row;
                NAME(finish)(sums[tile], scales ? scales + row : NULL, begin, out, number);
            }
            stream += streams;
        }
        block += several;
    }
}

#undef VECTOR
#undef LANES
#undef VECTORS
#undef MOST_STREAMS
#undef MOST_BLOCKS
#undef INPUT
#undef ADD_PRODUCT
#undef WEIGHT
#undef NAME
#undef LOAD_WEIGHTS
