/* A step of a network for some streams, as a list of operations on rows of numbers.
 *
 * The arrays are elementwise.h's; there is no step in them, and their rows are those of the streams that step, in turn. In
 * the streams' states they are those of the streams' own numbers, in tables those of the symbols that are read.
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
    ATTEND,      /* put in into the ring `extra`; out = means of the ring, a head each, asked for by other */
    TURN,        /* go on by one place in the rings */
    LOG_SOFTMAX, /* out = log_softmax(in) */
};

typedef struct {
    int64_t operator;
    int64_t width;   /* numbers in a row of the result */
    int64_t columns; /* of a matrix; places of a ring */
    int64_t kind;    /* of a matrix's weights: 0 as the numbers, 1 bfloat16, 2 int8; heads of ATTEND */
    int64_t has_start; /* whether PRODUCT begins with other */
    units out, in, other, extra;
    const void *weights, *scales;
    double number;
    const instruction *instructions; /* after elementwise_prepare */
    int64_t length;
} operation;

/* What a call works on: the streams' numbers, and for each of `time` steps a symbol of each stream. */
typedef struct {
    const operation *operations;
    int64_t length, count, time;
    const int64_t *symbols, *rows;
    array *arrays;          /* the states first, then the tables */
    int64_t states, tables; /* how many */
    int64_t *places;        /* of the rings, by stream */
} work;

/* What build.py says of the sources that the library is made of. */
const char *kernels_sources(void);

void decode_float(team *workers, const work *steps);
void decode_double(team *workers, const work *steps);

#endif
