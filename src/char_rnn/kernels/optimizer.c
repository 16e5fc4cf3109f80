#include "optimizer.h"

#include <math.h>
#include <stdlib.h>

#define LANES 64
#define BLOCK 4096      /* numbers whose squares are summed in single precision, in lanes */
#define FEWEST_BLOCKS 8 /* in a share */

static double sum_of_squares(const float *restrict x, int64_t size) {
    float lanes[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= size; i += LANES)
        for (int lane = 0; lane < LANES; lane++) lanes[lane] += x[i + lane] * x[i + lane];
    for (int lane = 0; i + lane < size; lane++) lanes[lane] += x[i + lane] * x[i + lane];
    double sum = 0;
    for (int lane = 0; lane < LANES; lane++) sum += lanes[lane];
    return sum;
}

/* A pass over the blocks of all parameters, in order. A share is a range of blocks; the blocks are the same for any number of
 * threads. */
typedef struct pass pass;
struct pass {
    const trained_parameter *parameters;
    int64_t count, blocks, shares;
    void (*run)(const pass *all, const trained_parameter *of, int64_t begin, int64_t end, int64_t block);
    double *sums; /* of the squares of each block */
    double rate, beta1, beta2, epsilon;
};

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a < b ? b : a; }
static int64_t blocks_of(int64_t size) { return (size + BLOCK - 1) / BLOCK; }

static void run_share(const void *argument, int64_t share) {
    const pass *all = argument;
    int64_t first = 0; /* block of the parameter */
    for (const trained_parameter *of = all->parameters; of < all->parameters + all->count; of++) {
        const int64_t begin = larger(all->blocks * share / all->shares, first);
        const int64_t end = smaller(all->blocks * (share + 1) / all->shares, first + blocks_of(of->size));
        if (begin < end) all->run(all, of, (begin - first) * BLOCK, smaller((end - first) * BLOCK, of->size), begin);
        first += blocks_of(of->size);
    }
}

static void run(pass *all, int64_t threads, parallel *start) {
    all->shares = larger(1, smaller(threads, all->blocks / FEWEST_BLOCKS));
    shares_run(run_share, all, all->shares, start);
}

static int64_t all_blocks(const trained_parameter *parameters, int64_t count) {
    int64_t blocks = 0;
    for (int64_t k = 0; k < count; k++) blocks += blocks_of(parameters[k].size);
    return blocks;
}

static void sum_blocks(const pass *all, const trained_parameter *of, int64_t begin, int64_t end, int64_t block) {
    for (; begin < end; begin += BLOCK)
        all->sums[block++] = sum_of_squares(of->gradient + begin, smaller(BLOCK, end - begin));
}

double optimizer_norm(const trained_parameter *parameters, int64_t count, int64_t threads, parallel *start) {
    pass all = {parameters, count, all_blocks(parameters, count), 1, sum_blocks, NULL, 0, 0, 0, 0};
    all.sums = malloc((size_t)(all.blocks + 1) * sizeof(double));
    if (!all.sums) return -1;
    run(&all, threads, start);
    double sum = 0;
    for (int64_t block = 0; block < all.blocks; block++) sum += all.sums[block];
    free(all.sums);
    return sqrt(sum);
}

/* Numbers of a step that are the same for all elements. */
typedef struct {
    float kept, beta1_rest, beta2, beta2_rest, scale, epsilon;
} factors;

/* The correction of v is outside the root: m / (sqrt(v / c) + e) = sqrt(c) m / (sqrt(v) + sqrt(c) e). */
static factors factors_of(const pass *all, double steps, double weight_decay) {
    const double root = sqrt(1 - pow(all->beta2, steps));
    return (factors){
        .kept = (float)(1 - all->rate * weight_decay),
        .beta1_rest = (float)(1 - all->beta1),
        .beta2 = (float)all->beta2,
        .beta2_rest = (float)(1 - all->beta2),
        .scale = (float)(all->rate / (1 - pow(all->beta1, steps)) * root),
        .epsilon = (float)(all->epsilon * root),
    };
}

static void update(
    float *restrict x, const float *restrict g, float *restrict m, float *restrict v, int64_t size, factors by) {
    for (int64_t i = 0; i < size; i++) {
        m[i] += by.beta1_rest * (g[i] - m[i]);
        v[i] = by.beta2 * v[i] + by.beta2_rest * g[i] * g[i];
        x[i] = by.kept * x[i] - by.scale * m[i] / (sqrtf(v[i]) + by.epsilon);
    }
}

static void update_blocks(const pass *all, const trained_parameter *of, int64_t begin, int64_t end, int64_t block) {
    (void)block;
    const factors by = factors_of(all, *of->steps, of->weight_decay);
    update(of->parameter + begin, of->gradient + begin, of->mean + begin, of->mean_square + begin, end - begin, by);
}

void optimizer_adamw(
    const trained_parameter *parameters, int64_t count, double rate, double beta1, double beta2, double epsilon,
    int64_t threads, parallel *start) {
    for (const trained_parameter *of = parameters; of < parameters + count; of++) *of->steps += 1;
    const int64_t blocks = all_blocks(parameters, count);
    pass all = {parameters, count, blocks, 1, update_blocks, NULL, rate, beta1, beta2, epsilon};
    run(&all, threads, start);
}
