#include "draw.h"

#include <math.h>
#include <string.h>

#define LEAF 128  /* largest number of weights that is sorted by counting */
#define LANES 8
#define NONE (-1) /* no symbol */

typedef double numbers __attribute__((vector_size(LANES * 8), may_alias));
typedef int64_t wholes __attribute__((vector_size(LANES * 8), may_alias));

/* exp(x) for x from -708 to 0: 2^n times a Taylor polynomial, whose remainder is far below the rounding error. Compilers
 * vectorize it, unlike the C library's. */
static inline double exp_near(double x) {
    const double magic = 6755399441056767.0; /* 1.5 * 2^52 + 1023: see exp_float in numbers.h */
    const double shifted = x * 1.4426950408889634 + magic;
    const double n = shifted - magic;
    const double r = (x - n * 0.6931471803691238) - n * 1.9082149292705877e-10;
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * (r * r) + r + 1.0;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits <<= 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

static void read_row(const work *steps, int64_t is_double, double *values, const uint8_t *banned, int64_t width) {
    const void *row = steps->arrays[steps->operations[steps->length - 1].out.array].base;
    if (is_double)
        memcpy(values, row, (size_t)width * sizeof *values);
    else
        for (int64_t j = 0; j < width; j++) values[j] = ((const float *)row)[j];
    for (int64_t j = 0; j < width; j++) values[j] = banned[j] ? -INFINITY : values[j];
}

/* The largest value, or -inf if all are NaN (log-softmax returns no NaN, or only NaN). */
static double largest_of(const double *values, int64_t width) {
    double largest[LANES];
    for (int lane = 0; lane < LANES; lane++) largest[lane] = -INFINITY;
    int64_t first = 0;
    for (; first + LANES <= width; first += LANES)
        for (int lane = 0; lane < LANES; lane++) {
            const double value = values[first + lane];
            largest[lane] = value > largest[lane] ? value : largest[lane];
        }
    for (; first < width; first++) largest[0] = values[first] > largest[0] ? values[first] : largest[0];
    for (int lane = 1; lane < LANES; lane++) largest[0] = largest[lane] > largest[0] ? largest[lane] : largest[0];
    return largest[0];
}

static int64_t first_of(double value, const double *values) {
    int64_t place = 0;
    while (values[place] != value) place++;
    return place;
}

/* Compute weights from values, the largest of which is `largest`. */
static void weigh(double *values, int64_t width, double largest, double temperature) {
    int is_near = 1;
    if (temperature == 1)
        for (int64_t j = 0; j < width; j++) values[j] -= largest;
    else
        for (int64_t j = 0; j < width; j++) values[j] = (values[j] - largest) / temperature;
    for (int64_t j = 0; j < width; j++) is_near &= values[j] >= -708;
    if (is_near)
        for (int64_t j = 0; j < width; j++) values[j] = exp_near(values[j]);
    else
        for (int64_t j = 0; j < width; j++) values[j] = values[j] >= -708 ? exp_near(values[j]) : exp(values[j]);
}

/* Sort at most LEAF indices, from first to before last, by weight: the largest first, equal ones in index order. */
static void sort_few(const drawing *how, int64_t first, int64_t last) {
    double weights[LEAF] __attribute__((aligned(64)));
    int64_t greater[LEAF] __attribute__((aligned(64))), equals[LEAF] = {0};
    const int64_t count = last - first;
    memcpy(weights, how->weights + first, (size_t)count * sizeof *weights);
    for (int64_t i = count; i % LANES; i++) weights[i] = 0;
    for (int64_t i = 0; i < count; i += LANES) {
        const numbers own = *(const numbers *)(weights + i);
        wholes sum = {0};
        for (int64_t j = 0; j < count; j++) sum -= weights[j] > own;
        *(wholes *)(greater + i) = sum;
    }
    for (int64_t i = 0; i < count; i++) how->order[first + greater[i] + equals[greater[i]]++] = first + i;
}

static void sort(const drawing *how, int64_t first, int64_t last) {
    if (last - first <= LEAF) {
        sort_few(how, first, last);
        return;
    }
    const double *weights = how->weights;
    int64_t middle = first + (last - first) / 2, *order = how->order, *left = how->left;
    sort(how, first, middle);
    sort(how, middle, last);
    memcpy(left + first, order + first, (size_t)(middle - first) * sizeof *left);
    for (int64_t i = first, j = middle, out = first; i < middle; out++)
        order[out] = j < last && weights[order[j]] > weights[left[i]] ? order[j++] : left[i++];
}

/* Set weights to 0 that are not among the `top_k` largest or not in the nucleus of `top_p` of these. */
static void keep_largest(const drawing *how, int64_t width) {
    const int64_t kept = how->top_k < width ? how->top_k : width, *order = how->order;
    double *weights = how->weights, total = 0, sum = 0;
    sort(how, 0, width);
    for (int64_t i = kept; i < width; i++) weights[order[i]] = 0;
    if (how->top_p >= 1) return;
    for (int64_t i = 0; i < kept; i++) total += weights[order[i]];
    const double enough = how->top_p * total;
    int64_t i = 0;
    do sum += weights[order[i++]];
    while (i < kept && sum < enough);
    for (; i < kept; i++) weights[order[i]] = 0;
}

/* The index at which the sum of the weights passes a fraction of their total; never one of weight zero. */
static int64_t place_of(double *weights, int64_t width, double part) {
    double sum = 0;
    int64_t last = 0, place = 0;
    for (int64_t j = 0; j < width; j++) {
        last = weights[j] > 0 ? j : last;
        sum += weights[j];
        weights[j] = sum;
    }
    const double wanted = part * sum;
    for (int64_t j = 0; j < width; j++) place += weights[j] <= wanted;
    return place < width ? place : last;
}

static int64_t draw(const work *steps, const drawing *how, double temperature, int64_t is_double) {
    const int64_t width = steps->operations[steps->length - 1].width;
    double *weights = how->weights;
    read_row(steps, is_double, weights, how->banned, width);
    const double largest = largest_of(weights, width);
    if (!isfinite(largest)) return NONE;
    const double number = how->next_double(how->random);
    if (temperature == 0) return first_of(largest, weights);
    weigh(weights, width, largest, temperature);
    if (how->top_k < width || how->top_p < 1) keep_largest(how, width);
    if (how->min_p > 0)
        for (int64_t j = 0; j < width; j++) weights[j] = weights[j] < how->min_p ? 0 : weights[j];
    return place_of(weights, width, number);
}

int64_t write_text(
    team *workers, const work *steps, const drawing *how, const double *temperatures, int64_t *symbols, int64_t count,
    int64_t is_double) {
    work step = *steps;
    for (int64_t drawn = 0; drawn < count; drawn++) {
        step.symbols = symbols + drawn;
        if (is_double)
            decode_double(workers, &step);
        else
            decode_float(workers, &step);
        const int64_t symbol = draw(&step, how, temperatures[drawn], is_double);
        if (symbol == NONE) return drawn;
        symbols[drawn + 1] = symbol;
    }
    return count;
}
