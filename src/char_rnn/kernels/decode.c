#include "decode.h"

#include <stddef.h>

#include "numbers.h"
#include "vectors.h"

#define MOST_ROWS 64 /* streams whose rows are computed at a time */

const char *kernels_sources(void) { return KERNELS_SOURCES; }

#define BLOCKS_OF_A_PART 4

static int64_t blocks_of(const operation *op) { return (op->width + ROWS - 1) / ROWS; }

/* The number of parts of an operation: groups of blocks of a matrix, or streams. */
static int64_t parts_of(const operation *op, const work *steps) {
    return op->operator == PRODUCT ? (blocks_of(op) + BLOCKS_OF_A_PART - 1) / BLOCKS_OF_A_PART : steps->count;
}

/* Whether it takes longer than distributing its parts, about a microsecond. */
static int is_worth_sharing(const operation *op, const work *steps) {
    const int64_t numbers = op->width * steps->count;
    if (op->operator == PRODUCT) return numbers * op->columns >= 1 << 16;
    return numbers >= 1 << 13 && steps->count > 1;
}

/* Select the rows of the states by stream, and the rows of the tables by symbol. */
static void find_rows(const work *steps) {
    array *of = steps->arrays;
    for (int64_t i = 0; i < steps->states; i++) of[i].rows = steps->rows;
    for (int64_t i = steps->states; i < steps->states + steps->tables; i++) {
        of[i].rows = steps->symbols;
        of[i].rows_step = steps->count;
    }
}

#define REAL float
#define WEIGHT float
#define NAME(x) x##_float_float
#define LOAD_WEIGHTS(w) (*(const VECTOR *)(w))
#include "product.h"

#define WEIGHT uint16_t
#define NAME(x) x##_float_bfloat16
#define LOAD_WEIGHTS(w) ((VECTOR)FROM_BFLOAT16(w))
#include "product.h"

#define WEIGHT int8_t
#define NAME(x) x##_float_int8
#define LOAD_WEIGHTS(w) ((VECTOR)FROM_INT8(w))
#include "product.h"

#define OF(x) x##_float
#define TANH_OF tanh_float
#define HAS_SMALL_WEIGHTS 1
#include "tiles.h"
#include "operations.h"
#undef REAL
#undef OF
#undef TANH_OF
#undef HAS_SMALL_WEIGHTS

#define REAL double
#define WEIGHT double
#define NAME(x) x##_double_double
#define LOAD_WEIGHTS(w) (*(const VECTOR *)(w))
#include "product.h"

#define OF(x) x##_double
#define TANH_OF tanh_double
#define HAS_SMALL_WEIGHTS 0
#include "tiles.h"
#include "operations.h"
