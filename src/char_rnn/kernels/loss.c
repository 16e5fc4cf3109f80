#include "loss.h"

#include <stdlib.h>

#include "numbers.h"

#define GROUP 16
#define FEWEST_ROWS 64 /* in a share */

typedef struct {
    float *scores;
    const int64_t *targets;
    const float *soft; /* or NULL */
    double *losses; /* three for each row */
    int64_t rows, width, stride, shares;
    double smoothing, soft_weight;
} call;

/* By halving, not sequentially: a row has few numbers. */
#define HALVE(parts, operation, half)                                                                                  \
    for (int p = 0; p < half; p++) parts[p] = operation(parts[p], parts[p + half])
#define REDUCE(parts, operation)                                                                                       \
    HALVE(parts, operation, 8);                                                                                        \
    HALVE(parts, operation, 4);                                                                                        \
    HALVE(parts, operation, 2);                                                                                        \
    HALVE(parts, operation, 1)

static inline float sum_of(float a, float b) { return a + b; }
static inline float more_of(float a, float b) { return a > b ? a : b; }

static float largest(const float *x, int64_t padded) {
    float parts[PARTS];
    memcpy(parts, x, sizeof parts);
    for (int64_t j = PARTS; j < padded; j += PARTS)
        for (int p = 0; p < PARTS; p++) parts[p] = more_of(parts[p], x[j + p]);
    REDUCE(parts, more_of);
    return parts[0];
}

static float replace_by_powers(float *restrict x, int64_t padded, float most) {
    float parts[PARTS] = {0};
    for (int64_t j = 0; j < padded; j += PARTS)
        for (int p = 0; p < PARTS; p++) parts[p] += x[j + p] = exp_float(x[j + p] - most);
    REDUCE(parts, sum_of);
    return parts[0];
}

static double mean(const float *x, int64_t width) {
    float parts[PARTS] = {0};
    SUM(parts, width, x[j]);
    return (double)total_float(parts) / (double)width;
}

static double product(const float *x, const float *y, int64_t width) {
    float parts[PARTS] = {0};
    SUM(parts, width, x[j] * y[j]);
    return (double)total_float(parts);
}

/* The rows of a group pass each stage together: a single row would mostly wait for its own sums. */
static void group_loss(const call *all, int64_t first, int64_t count) {
    const int64_t width = all->width, padded = (width + PARTS - 1) / PARTS * PARTS;
    const double of_soft = all->soft ? all->soft_weight / (double)all->rows : 0, of_text = 1 / (double)all->rows - of_soft;
    const float spread = (float)(all->smoothing / (double)width * of_text);
    const float of_target = (float)((1 - all->smoothing) * of_text);
    float *rows = all->scores + first * all->stride, most[GROUP], sums[GROUP], scores[GROUP];
    double of_all[GROUP] = {0}, expected[GROUP] = {0};
    for (int64_t row = 0; row < count; row++) {
        float *x = rows + row * all->stride;
        for (int64_t j = width; j < padded; j++) x[j] = -INFINITY;
        scores[row] = x[all->targets[first + row]];
        if (all->smoothing > 0) of_all[row] = mean(x, width);
        if (all->soft) expected[row] = product(x, all->soft + (first + row) * width, width);
        most[row] = largest(x, padded);
    }
    for (int64_t row = 0; row < count; row++) sums[row] = replace_by_powers(rows + row * all->stride, padded, most[row]);
    for (int64_t row = 0; row < count; row++) {
        const double normalizer = (double)most[row] + log((double)sums[row]);
        double *losses = all->losses + 3 * (first + row);
        losses[0] = normalizer - (double)scores[row];
        losses[1] = normalizer - of_all[row];
        losses[2] = normalizer - expected[row];
    }
    for (int64_t row = 0; row < count; row++) {
        float *restrict x = rows + row * all->stride;
        for (int64_t j = width; j < padded; j++) x[j] = 0; /* scaled, they would be denormal and slow */
        const float scale = 1.0f / (sums[row] * (float)all->rows);
        for (int64_t j = 0; j < padded; j += PARTS)
            for (int p = 0; p < PARTS; p++) x[j + p] = x[j + p] * scale - spread;
        x[all->targets[first + row]] -= of_target;
        if (!all->soft) continue;
        const float *soft = all->soft + (first + row) * width, factor = (float)of_soft;
        for (int64_t j = 0; j < width; j++) x[j] -= factor * soft[j];
    }
}

static void run_share(const void *argument, int64_t share) {
    const call *all = argument;
    const int64_t end = all->rows * (share + 1) / all->shares;
    for (int64_t row = all->rows * share / all->shares; row < end; row += GROUP)
        group_loss(all, row, end - row < GROUP ? end - row : GROUP);
}

int loss_cross_entropy(
    float *scores, const int64_t *targets, const float *soft, double *losses, int64_t rows, int64_t width, int64_t stride,
    double smoothing, double soft_weight, int64_t threads, parallel *start) {
    for (int64_t row = 0; row < rows; row++)
        if (targets[row] < 0 || targets[row] >= width) return 1;
    double *of_rows = malloc((size_t)rows * 3 * sizeof(double));
    if (!of_rows) return 2;
    const int64_t most = rows / FEWEST_ROWS + 1;
    const int64_t shares = threads < most ? threads : most;
    const call all = {scores, targets, soft, of_rows, rows, width, stride, shares, smoothing, soft_weight};
    shares_run(run_share, &all, all.shares, start);
    losses[0] = losses[1] = losses[2] = 0;
    for (int64_t i = 0; i < 3 * rows; i++) losses[i % 3] += of_rows[i] / (double)rows;
    free(of_rows);
    return 0;
}
