/* Small programs on rows of numbers, computed in tiles that stay in the first-level cache.
 *
 * An instruction reads and writes virtual registers. A register holds a tile: some units of a row, or several narrow
 * rows. Decoding and training share the instructions.
 */
#ifndef CHAR_RNN_ELEMENTWISE_H
#define CHAR_RNN_ELEMENTWISE_H

#include <stdint.h>

#define MOST_REGISTERS 32

/* Rows in memory. Row b of step t begins at base + t * step + r * row, counted in numbers (not bytes), where r is b or,
 * if `rows` is not NULL, rows[t * rows_step + b]: the rows of a table by symbol, or the states of chosen streams. The units
 * of a row are adjacent. `step` is 0 for arrays without time; `step` and `row` are 0 for a vector of parameters. */
typedef struct {
    void *base;
    int64_t step, row;
    const int64_t *rows;
    int64_t rows_step;
} array;

/* Units of an array: index into the program's arrays, and the first unit in its rows. */
typedef struct {
    int64_t array, unit;
} units;

enum code {
    LOAD,          /* to = units `unit` to `unit` + width (not included) of array `array` */
    STORE,         /* the same units of the array = a */
    SUM_ROWS,      /* sums[unit ...] += the rows of a, in order */
    NUMBER,        /* to = number, everywhere */
    SCALE,         /* to = number a */
    ADD,           /* to = a + b */
    SUBTRACT,      /* to = a - b */
    MULTIPLY,      /* to = a b */
    MULTIPLY_ADD,  /* to = a b + c, rounded once */
    SIGMOID,       /* to = sigmoid(a) */
    TANH,          /* to = tanh(a) */
    RELU,          /* to = max(a, 0); NaN stays NaN */
    SOFTPLUS,      /* to = log(1 + exp(a)) */
    SIGMOID_SLOPE, /* to = a (1 - a): the slope of a sigmoid with the value a */
    TANH_SLOPE,    /* to = 1 - a a: likewise of a tanh */
    STEP,          /* to = 1 if a > 0, else 0: likewise of a relu */
    SOFTPLUS_SLOPE, /* to = 1 - exp(-a): likewise of a softplus */
};

/* Registers `to`, a, b and c are 0 to MOST_REGISTERS - 1; `to` may be one of a, b, c. A register keeps its value until
 * the next write in the same list and tile, but not from list to list.
 *
 * A LOAD may refer to the array's memory, and a STORE may happen as soon as its register is computed. The result equals
 * that of the instructions in order if any two of them, in one list and step, access either the same units of the same
 * array or disjoint memory. (The states before and after a step in one buffer are disjoint: their rows differ by a step.) */
typedef struct {
    int32_t code, to, a, b, c;
    int32_t array;    /* index into the program's arrays */
    int32_t unit;     /* first unit in the array's row, or in `sums` */
    int32_t in_place; /* filled in by the kernels */
    double number;
} instruction;

/* Fill in `in_place` of a list's instructions; call this once before the list runs. */
void elementwise_prepare(instruction *list, int64_t length, int64_t width);

#endif
