/* All steps of a recurrent layer, forward or backward, as a list of operations on the rows of a batch.
 *
 * Dimensions: B batch, T time. No operation mixes rows. Each thread takes a contiguous share of the rows through all
 * steps without waiting for the others. A row's results do not depend on the number of threads or its place in the batch;
 * sums over rows are the same to the bit for the same number of threads.
 */
#ifndef CHAR_RNN_TRAIN_H
#define CHAR_RNN_TRAIN_H

#include <stdint.h>

#include "elementwise.h"
#include "shares.h"

enum operator {
    PRODUCT,        /* out = (out +) W in: `width` numbers of `columns` */
    NORMALIZE,      /* out = (in - mean(in)) rstd, rstd = 1 / sqrt(variance(in) + 1e-5), over the `width` numbers of a row */
    NORMALIZE_BACK, /* out = rstd (in - mean(in) - normalized mean(in normalized)): in is the gradient of `normalized` */
    ELEMENTWISE,    /* the instructions, on `width` units of every row */
};

typedef struct {
    int64_t operator;
    int64_t width;
    int64_t columns;           /* of PRODUCT */
    int64_t accumulates;       /* of PRODUCT */
    int64_t is_bfloat16;       /* of PRODUCT: W is packed as bfloat16, and `in` is rounded to it; sums are float32 */
    const void *weights;       /* of PRODUCT: W, packed */
    units out, in;             /* except ELEMENTWISE; NORMALIZE and NORMALIZE_BACK may have out = in */
    units rstd;                /* written by NORMALIZE, read by NORMALIZE_BACK: one number for each row */
    units normalized;          /* of NORMALIZE_BACK: the result of NORMALIZE */
    const instruction *instructions; /* of ELEMENTWISE, after elementwise_prepare */
    int64_t length;                  /* of the instructions */
} operation;

typedef struct {
    int64_t time, batch; /* T and B */
    int64_t is_backward; /* whether the steps run from T - 1 to 0 */
    const operation *operations;
    int64_t length; /* of the operations */
    const array *arrays; /* of float */
    float *sums;       /* (threads, sums_width), NULL without SUM_ROWS; overwritten: the first row is the sum over all */
    int64_t sums_width;
} program;

/* Run a program on `threads` threads. `team_size` is omp_get_num_threads or NULL. If the matrices are too large for every
 * thread's cache, the threads share each step, if all of them exist; the results are the same to the bit.
 *
 * The program runs on one thread if `start` is NULL, and in a child after a fork (where the pool's threads do not exist),
 * with the same shares and so the same bits. Return 0, or 1 without computing anything if there is not enough memory. */
int train_run(const program *of, int64_t threads, parallel *start, int (*team_size)(void));

/* Whether this processor multiplies bfloat16 faster than float32. If not, such products use the float32 instructions, with
 * half the memory for the weights. */
int train_bfloat16_is_fast(void);

/* For tests: choose whether such products use the processor's instruction for pairs of bfloat16, faster or not. Call this
 * before packing matrices; return whether they do. */
int train_use_pairs(int wanted);

/* Bytes of a packed matrix of `width` outputs and `columns` inputs. Its address must be a multiple of 64. */
int64_t train_packed_size(int64_t width, int64_t columns, int64_t is_bfloat16);

/* Pack W for PRODUCT: `width` outputs of `columns` inputs. W[i][j] is matrix[i * stride + j] or, if `transposed`,
 * matrix[j * stride + i] (backward). For a range of rows, advance `matrix`. */
void train_pack(
    const float *matrix, int64_t stride, int64_t width, int64_t columns, int64_t transposed, int64_t is_bfloat16, void *packed);

/* table[symbols[i]] = the sum of rows[i * stride ...], in order, for `count` rows; `table` is (symbols, width), dense. */
void train_sum_by_symbol(
    const float *rows, int64_t stride, const int64_t *symbols, int64_t count, float *table, int64_t table_rows, int64_t width,
    int64_t threads, parallel *start);

#endif
