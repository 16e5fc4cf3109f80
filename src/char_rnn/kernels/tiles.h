/* A template: runs the instructions of elementwise.h on REAL numbers. Define REAL, OF(x) and TANH_OF(x)
 * before including it.
 *
 * If the width of a row is a multiple of a vector, a register is a view of rows: a pointer and the distance of the rows. A
 * LOAD then costs nothing, and a result is written where it is stored. Other rows are copied into registers without gaps,
 * which every instruction processes as one row, rounded up to whole vectors.
 */

#define LANES ((int64_t)(VECTOR_BYTES / sizeof(REAL)))
#define TILE ((int64_t)(1024 / sizeof(REAL))) /* numbers of a register: 32 registers fill 32 KB */

typedef struct {
    REAL *at;
    int64_t row; /* numbers from row to row */
} OF(view);

/* A tile: rows `row` to `row` + `rows` of step `t`, units `unit` to `unit` + `width`. Instructions loop over `lines` of
 * `numbers`: the rows, or all of them as one. */
typedef struct {
    int64_t t, row, rows, unit, width, lines, numbers;
} OF(place);

typedef struct {
    REAL own[MOST_REGISTERS][TILE] __attribute__((aligned(64)));
    OF(view) views[MOST_REGISTERS];
} OF(registers);

static void OF(clear_registers)(OF(registers) *all) {
    memset(all->own, 0, sizeof all->own);
    for (int r = 0; r < MOST_REGISTERS; r++) all->views[r] = (OF(view)){all->own[r], 0};
}

static inline REAL *OF(row_of)(const array *of, int64_t t, int64_t row) {
    return (REAL *)of->base + t * of->step + (of->rows ? of->rows[t * of->rows_step + row] : row) * of->row;
}

static void OF(load)(OF(registers) *all, const instruction *now, const array *from, const OF(place) *at) {
    OF(view) *to = &all->views[now->to];
    const int64_t unit = now->unit + at->unit;
    if (now->in_place && at->lines == at->rows && at->numbers == at->width && (!from->rows || at->rows == 1)) {
        *to = (OF(view)){OF(row_of)(from, at->t, at->row) + unit, from->row};
        return;
    }
    *to = (OF(view)){all->own[now->to], at->width};
    for (int64_t r = 0; r < at->rows; r++)
        memcpy(to->at + r * at->width, OF(row_of)(from, at->t, at->row + r) + unit, (size_t)at->width * sizeof(REAL));
}

static void OF(store)(const OF(view) *from, const instruction *now, const array *to, const OF(place) *at) {
    for (int64_t r = 0; r < at->rows; r++) {
        REAL *out = OF(row_of)(to, at->t, at->row + r) + now->unit + at->unit;
        const REAL *in = from->at + r * (at->lines == 1 ? at->width : from->row);
        if (in != out) memcpy(out, in, (size_t)at->width * sizeof(REAL));
    }
}

static void OF(sum_rows)(const OF(view) *from, REAL *restrict sums, const OF(place) *at) {
    for (int64_t r = 0; r < at->rows; r++) {
        const REAL *in = from->at + r * (at->lines == 1 ? at->width : from->row);
        for (int64_t j = 0; j < at->width; j++) sums[j] += in[j];
    }
}

/* The destination of an instruction: its register's own memory, or the rows of the array where it is stored next. */
static OF(view) OF(target)(OF(registers) *all, const instruction *now, const array *arrays, const OF(place) *at) {
    if (now->in_place && at->numbers == at->width) {
        const instruction *store = now + now->in_place;
        const array *to = &arrays[store->array];
        if (!to->rows || at->rows == 1)
            return (OF(view)){OF(row_of)(to, at->t, at->row) + store->unit + at->unit, to->row};
    }
    return (OF(view)){all->own[now->to], at->numbers};
}

static inline __attribute__((always_inline)) void OF(compute)(
    const instruction *now, const OF(place) *at, OF(view) to, OF(view) va, OF(view) vb, OF(view) vc) {
    const int64_t lines = at->lines, numbers = at->numbers / LANES * LANES;
    const REAL number = (REAL)now->number;
    REAL *out = to.at;
    const REAL *a = va.at, *b = vb.at, *c = vc.at;
/* Registers are identical or disjoint memory, hence ivdep. */
#define EACH(value)                                                                                                    \
    for (int64_t line = 0; line < lines; line++, out += to.row, a += va.row, b += vb.row, c += vc.row) {               \
        _Pragma("GCC ivdep") for (int64_t j = 0; j < numbers; j++) out[j] = value;                                     \
    }                                                                                                                  \
    break
    switch (now->code) {
    case NUMBER:
        EACH(number);
    case SCALE:
        EACH(number * a[j]);
    case ADD:
        EACH(a[j] + b[j]);
    case SUBTRACT:
        EACH(a[j] - b[j]);
    case MULTIPLY:
        EACH(a[j] * b[j]);
    case MULTIPLY_ADD:
        EACH(OF(multiply_add)(a[j], b[j], c[j]));
    case SIGMOID:
        EACH(OF(sigmoid)(a[j]));
    case TANH:
        EACH(TANH_OF(a[j]));
    case RELU:
        EACH(a[j] < 0 ? 0 : a[j]);
    case SOFTPLUS:
        EACH(OF(softplus)(a[j]));
    case SIGMOID_SLOPE:
        EACH(a[j] * (1 - a[j]));
    case TANH_SLOPE:
        EACH(1 - a[j] * a[j]);
    case STEP:
        EACH(a[j] > 0 ? 1 : 0);
    case SOFTPLUS_SLOPE:
        EACH(1 - OF(exp)(-a[j]));
    default:
        break;
    }
#undef EACH
}

static void OF(run_tile)(
    OF(registers) *all, const instruction *list, int64_t length, const array *arrays, REAL *sums, const OF(place) *at) {
    for (const instruction *now = list; now < list + length; now++) {
        OF(view) *views = all->views;
        switch (now->code) {
        case LOAD:
            OF(load)(all, now, &arrays[now->array], at);
            break;
        case STORE:
            OF(store)(&views[now->a], now, &arrays[now->array], at);
            break;
        case SUM_ROWS:
            OF(sum_rows)(&views[now->a], sums + now->unit + at->unit, at);
            break;
        default: {
            const OF(view) to = OF(target)(all, now, arrays, at);
            OF(compute)(now, at, to, views[now->a], views[now->b], views[now->c]);
            views[now->to] = to;
        }
        }
    }
}

/* Run the instructions on `width` units of the rows from first to before last at step t. */
static void OF(run_elementwise)(
    const instruction *list,
    int64_t length,
    const array *arrays,
    int64_t width,
    int64_t t,
    int64_t first,
    int64_t last,
    REAL *sums,
    OF(registers) *all) {
    int64_t piece = (width + LANES - 1) / LANES * LANES, most = last - first;
    if (width > TILE) {
        const int64_t pieces = (width + TILE - 1) / TILE;
        piece = (piece / LANES + pieces - 1) / pieces * LANES;
        most = 1;
    } else if (width * most > TILE) {
        most = TILE / width;
    }
    for (int64_t row = first; row < last; row += most) {
        for (int64_t unit = 0; unit < width; unit += piece) {
            OF(place) at = {t, row, last - row < most ? last - row : most, unit, piece, 0, 0};
            if (width - unit < piece) at.width = width - unit;
            const int is_whole = at.width % LANES == 0;
            at.lines = is_whole ? at.rows : 1;
            at.numbers = is_whole ? at.width : (at.rows * at.width + LANES - 1) / LANES * LANES;
            OF(run_tile)(all, list, length, arrays, sums, &at);
        }
    }
}

#undef LANES
#undef TILE
