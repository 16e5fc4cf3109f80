/* A decoding step of a network for several streams, as a list of operations on rows of numbers.
 *
 * The arrays are those of elementwise.h, without a step. Their rows belong to the streams that step, in order: rows of the
 * states by stream number, rows of tables by symbol.
 */
#ifndef CHAR_RNN_DECODE_H
#define CHAR_RNN_DECODE_H

#include <stdint.h>

#include "elementwise.h"
#include "team.h"

enum operator {
    ONE_HOT,     /* out = the symbol's one-hot vector */
    PRODUCT,     /* out = (other +) matrix in */
    NORMALIZE,   /* out = (in - mean(in)) / sqrt(variance(in) + EPSILON) */
    ELEMENTWISE, /* the instructions */
    GELU,        /* out = gelu(in) */
    ATTEND,      /* store `in` in the ring `extra`; out = attention of the queries `other` over the ring, for each head */
    TURN,        /* advance the rings by one place */
    LOG_SOFTMAX, /* out = log_softmax(in) */
    MATCH,       /* add the symbol to the history `extra`; out = in + the vectors of what followed its last occurrences */
};

typedef struct {
    int64_t operator;
    int64_t width;   /* numbers in a row of the result */
    int64_t columns; /* of a matrix; places of a ring or of a history */
    int64_t kind;    /* of a matrix's weights: 0 the type of the numbers, 1 bfloat16, 2 int8; heads of ATTEND; lengths of MATCH */
    int64_t has_start; /* whether PRODUCT starts from other */
    units out, in, other, extra;
    const void *weights, *scales; /* of a matrix; the tables of MATCH, `length` vectors for each length, and the lengths */
    double number;
    const instruction *instructions; /* after elementwise_prepare */
    int64_t length;
} operation;

/* Arguments of a call: the stream numbers, and a symbol of each stream for each of `time` steps. */
typedef struct {
    const operation *operations;
    int64_t length, count, time;
    const int64_t *symbols, *rows;
    array *arrays;          /* the states first, then the tables */
    int64_t states, tables; /* how many */
    int64_t *places;        /* of the rings, by stream */
} work;

/* The digest that build.py computed of the library's sources. */
const char *kernels_sources(void);

void decode_float(team *workers, const work *steps);
void decode_double(team *workers, const work *steps);

#endif
