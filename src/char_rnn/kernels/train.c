#include "train.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "numbers.h"
#include "packing.h"
#include "team.h"
#include "vectors.h"

#define REAL float
#define WEIGHT float
#define NAME(x) x##_float
#define LOAD_WEIGHTS(w) (*(const VECTOR *)(w))
#include "product.h"

#define WEIGHT uint16_t
#define NAME(x) x##_bfloat16
#define LOAD_WEIGHTS(w) ((VECTOR)FROM_BFLOAT16(w))
#include "product.h"

typedef uint32_t pair __attribute__((may_alias));

#if CAN_COMPILE_PAIRS
#pragma GCC push_options
#pragma GCC target("avx512bf16")
#define WEIGHT uint32_t
#define INPUT pair
#define NAME(x) x##_pairs
#define LOAD_WEIGHTS(w) (*(const VECTOR *)(w))
#define ADD_PRODUCT(sum, w, x)                                                                                         \
    sum = (VECTOR)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)(w), (__m512bh)_mm512_set1_epi32((int)(x)))
#include "product.h"
#pragma GCC pop_options
#else
#define product_pairs(weights, scales, rows, columns, first, last, count, x, start, y) (void)(x)
#endif

#define OF(x) x##_float
#define TANH_OF tanh_fast_float
#include "tiles.h"

#define ALIGNMENT 64
#define SPINS 4000
#define LARGEST_OWN (1 << 20) /* bytes of matrices that fit into the cache of every thread */
#define MOST_ROWS 64        /* rows that a thread runs through all steps at a time: their numbers of a step stay in the cache */
#define BLOCKS_OF_A_PIECE 4 /* blocks of a matrix after which the order can be reversed */

/* Some rows of the batch at step t, processed by one thread. */
typedef struct {
    const program *of;
    int64_t t, first, last;
    float *sums, *rounded;
    registers_float *registers;
} moment;

static inline float *row_at(const moment *now, units of, int64_t row) {
    return row_of_float(&now->of->arrays[of.array], now->t, row) + of.unit;
}

/* Round a row to pairs of bfloat16, or to float32 with as many digits. */
static void round_row(const float *restrict in, int64_t columns, float *restrict rounded) {
    if (packing_uses_pairs()) {
        uint16_t *halves = (uint16_t *)rounded;
        for (int64_t j = 0; j < columns; j++) halves[j] = (uint16_t)bfloat16(in[j]);
        if (columns % 2) halves[columns] = 0;
    } else {
        for (int64_t j = 0; j < columns; j++) rounded[j] = from_bfloat16(bfloat16(in[j]));
    }
}

static int64_t blocks_of(const operation *op) { return (op->width + ROWS - 1) / ROWS; }

/* Multiply the rows with the blocks from first to before last of a matrix.
 *
 * Every other step reads the matrix in reverse: if it is larger than the cache, the part that was read last is still there. */
static void multiply(const operation *op, const moment *now, int64_t first_block, int64_t last_block) {
    const float *x[MOST_ROWS];
    const pair *pairs[MOST_ROWS];
    float *y[MOST_ROWS];
    const int64_t count = now->last - now->first, blocks = last_block - first_block;
    for (int64_t r = 0; r < count; r++) {
        x[r] = row_at(now, op->in, now->first + r);
        y[r] = row_at(now, op->out, now->first + r);
    }
    for (int64_t r = 0; op->is_bfloat16 && r < count; r++) {
        float *rounded = now->rounded + r * op->columns;
        round_row(x[r], op->columns, rounded);
        x[r] = rounded;
        pairs[r] = (const pair *)rounded;
    }
    const int64_t pieces = (blocks + BLOCKS_OF_A_PIECE - 1) / BLOCKS_OF_A_PIECE;
    for (int64_t index = 0; index < pieces; index++) {
        const int64_t begin = first_block + (now->t % 2 ? pieces - 1 - index : index) * BLOCKS_OF_A_PIECE;
        const int64_t end = begin + BLOCKS_OF_A_PIECE < last_block ? begin + BLOCKS_OF_A_PIECE : last_block;
#define PRODUCT_OF(kind, columns, x)                                                                                   \
    product_##kind(op->weights, NULL, op->width, columns, begin, end, count, x, op->accumulates ? (const float *const *)y : NULL, y)
        if (!op->is_bfloat16)
            PRODUCT_OF(float, op->columns, x);
        else if (packing_uses_pairs())
            PRODUCT_OF(pairs, (op->columns + 1) / 2, pairs);
        else
            PRODUCT_OF(bfloat16, op->columns, x);
#undef PRODUCT_OF
    }
}

/* As many vectors of partial sums as hide the latency of an addition. */
enum { MANY = 64 };

static float total_many(float *parts) {
    for (int64_t half = MANY / 2; half > 0; half /= 2)
        for (int64_t j = 0; j < half; j++) parts[j] += parts[half + j];
    return parts[0];
}

#define FOR_MANY(width, statement)                                                                                     \
    do {                                                                                                               \
        int64_t first_ = 0;                                                                                            \
        for (; first_ + MANY <= (width); first_ += MANY)                                                               \
            for (int64_t p = 0; p < MANY; p++) {                                                                       \
                const int64_t j = first_ + p;                                                                          \
                statement;                                                                                             \
            }                                                                                                          \
        for (int64_t j = first_; j < (width); j++) {                                                                   \
            const int64_t p = j - first_;                                                                              \
            statement;                                                                                                 \
        }                                                                                                              \
    } while (0)

static void normalize(const float *in, float *out, float *rstd, int64_t width) {
    float sums[MANY] = {0}, squares[MANY] = {0};
    FOR_MANY(width, sums[p] += in[j]);
    const float mean = total_many(sums) / (float)width;
    FOR_MANY(width, squares[p] += (in[j] - mean) * (in[j] - mean));
    const float scale = 1 / sqrtf(total_many(squares) / (float)width + (float)EPSILON);
    for (int64_t j = 0; j < width; j++) out[j] = (in[j] - mean) * scale;
    *rstd = scale;
}

static void normalize_back(const float *in, const float *normalized, float *out, float rstd, int64_t width) {
    float sums[MANY] = {0}, products[MANY] = {0};
    FOR_MANY(width, sums[p] += in[j]; products[p] += in[j] * normalized[j]);
    const float mean = total_many(sums) / (float)width, along = total_many(products) / (float)width;
#pragma GCC ivdep
    for (int64_t j = 0; j < width; j++) out[j] = rstd * (in[j] - mean - normalized[j] * along);
}

static void run_operation(const operation *op, const moment *now) {
    if (op->operator == PRODUCT) {
        multiply(op, now, 0, blocks_of(op));
    } else if (op->operator == ELEMENTWISE) {
        run_elementwise_float(op->instructions, op->length, now->of->arrays, op->width, now->t, now->first, now->last,
                              now->sums, now->registers);
    } else {
        for (int64_t row = now->first; row < now->last; row++) {
            const float *in = row_at(now, op->in, row);
            float *out = row_at(now, op->out, row), *rstd = row_at(now, op->rstd, row);
            if (op->operator == NORMALIZE)
                normalize(in, out, rstd, op->width);
            else
                normalize_back(in, row_at(now, op->normalized, row), out, *rstd, op->width);
        }
    }
}

typedef struct {
    const program *of;
    int64_t shares;
    float *rounded; /* bfloat16 inputs: memory for each share */
    int64_t room;
    atomic_llong *met; /* arrived threads, counted over all barriers */
} call;

static moment begin_share(const call *all, int64_t share, registers_float *registers) {
    const program *of = all->of;
    clear_registers_float(registers);
    moment now = {of, 0, 0, 0, of->sums ? of->sums + share * of->sums_width : NULL, NULL, registers};
    if (all->rounded) now.rounded = all->rounded + share * all->room;
    if (now.sums) memset(now.sums, 0, (size_t)of->sums_width * sizeof(float));
    return now;
}

/* Wait until all threads have arrived at this barrier. */
static void meet(const call *all) {
    const long long shares = all->shares, mine = atomic_fetch_add(all->met, 1), wanted = (mine / shares + 1) * shares;
    for (int64_t spin = 0; atomic_load(all->met) < wanted; spin++)
        if (spin < SPINS)
            pause_briefly();
        else
            sched_yield();
}

/* All steps, each shared by the threads: a product by its outputs, so that each thread reads only its part of the matrix,
 * everything else by rows. */
static void share_steps(const void *argument, int64_t share) {
    const call *all = argument;
    const program *of = all->of;
    registers_float registers;
    moment now = begin_share(all, share, &registers);
    int by_outputs = 0;
    for (int64_t step = 0; step < of->time; step++) {
        now.t = of->is_backward ? of->time - 1 - step : step;
        for (const operation *op = of->operations; op < of->operations + of->length; op++) {
            const int is_product = op->operator == PRODUCT;
            if (by_outputs || is_product) meet(all); /* a product may read the result of the previous one */
            by_outputs = is_product;
            now.first = by_outputs ? 0 : of->batch * share / all->shares;
            now.last = by_outputs ? of->batch : of->batch * (share + 1) / all->shares;
            if (!by_outputs) {
                run_operation(op, &now);
                continue;
            }
            const int64_t first = blocks_of(op) * share / all->shares, last = blocks_of(op) * (share + 1) / all->shares;
            for (; now.first < of->batch; now.first = now.last) {
                now.last = of->batch - now.first < MOST_ROWS ? of->batch : now.first + MOST_ROWS;
                multiply(op, &now, first, last);
            }
        }
    }
}

static void run_share(const void *argument, int64_t share) {
    const call *all = argument;
    const program *of = all->of;
    registers_float registers;
    moment now = begin_share(all, share, &registers);
    const int64_t begin = of->batch * share / all->shares, rows = of->batch * (share + 1) / all->shares - begin;
    const int64_t groups = (rows + MOST_ROWS - 1) / MOST_ROWS;
    for (int64_t group = 0; group < groups; group++) {
        now.first = begin + rows * group / groups;
        now.last = begin + rows * (group + 1) / groups;
        for (int64_t step = 0; step < of->time; step++) {
            now.t = of->is_backward ? of->time - 1 - step : step;
            for (const operation *op = of->operations; op < of->operations + of->length; op++) run_operation(op, &now);
        }
    }
}

int train_run(const program *of, int64_t threads, parallel *start, int (*team_size)(void)) {
    int64_t columns = 0, weights = 0;
    atomic_llong met = 0;
    for (const operation *op = of->operations; op < of->operations + of->length; op++) {
        if (op->operator == PRODUCT && op->is_bfloat16 && op->columns > columns) columns = op->columns;
        if (op->operator == PRODUCT) weights += train_packed_size(op->width, op->columns, op->is_bfloat16);
    }
    call all = {.of = of, .shares = threads, .met = &met};
    if (columns) {
        all.room = rounded_up(columns * MOST_ROWS, ALIGNMENT);
        all.rounded = aligned_alloc(ALIGNMENT, (size_t)(all.room * threads) * sizeof(float));
        if (!all.rounded) return 1;
    }
    shares_run_together(share_steps, run_share, &all, threads, start, weights > LARGEST_OWN ? team_size : NULL);
    free(all.rounded);
    for (int64_t share = 1; of->sums && share < threads; share++)
        for (int64_t j = 0; j < of->sums_width; j++) of->sums[j] += of->sums[share * of->sums_width + j];
    return 0;
}

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
