#define _POSIX_C_SOURCE 200809L

#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

/* A waiting member polls so many times, 50 to 200 microseconds, before it sleeps: longer than drawing a character between
 * two steps takes, but not much longer, because others may need the core. */
enum { SPINS = 4000 };

/* A member's share of the parts: the next one in the upper half, the end in the lower, so that one addition takes a part. It
 * has its own cache line. A member begins with its own share, the same at every step, whose weights may still be in its
 * core's cache, and then helps with the shares of others. */
typedef struct {
    atomic_ullong range;
    char padding[64 - sizeof(atomic_ullong)];
} share;

struct team {
    int size;
    pthread_t *threads;
    share *shares;
    pthread_mutex_t turn; /* held by the caller that took the team */
    pthread_mutex_t lock; /* guards sleeping */
    pthread_cond_t wake;
    atomic_int sleeping, stop;
    atomic_uint round; /* wraps around to 0 */
    atomic_llong done; /* completed parts of this round */
    task run;          /* of this round, like the argument: a member that has taken a part may read them */
    const void *argument;
};

typedef struct {
    team *team;
    int member;
} place;

/* Wait for a round later than the given one. */
static void wait_for_round(team *self, unsigned after) {
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(&self->round, memory_order_acquire) != after) return;
        pause_briefly();
    }
    pthread_mutex_lock(&self->lock);
    atomic_fetch_add(&self->sleeping, 1);
    while (atomic_load(&self->round) == after) pthread_cond_wait(&self->wake, &self->lock);
    atomic_fetch_sub(&self->sleeping, 1);
    pthread_mutex_unlock(&self->lock);
}

static void next_round(team *self) {
    atomic_fetch_add(&self->round, 1);
    if (atomic_load(&self->sleeping)) {
        pthread_mutex_lock(&self->lock);
        pthread_cond_broadcast(&self->wake);
        pthread_mutex_unlock(&self->lock);
    }
}

/* Run parts until all are taken. A taken part belongs to the current round, whatever round this member woke for: the next
 * round does not begin before the part is done. */
static void take_parts(team *self, int member) {
    for (int turn = 0; turn < self->size; turn++) {
        share *from = &self->shares[(member + turn) % self->size];
        for (;;) {
            const unsigned long long range = atomic_fetch_add(&from->range, 1ULL << 32);
            const int64_t part = (int64_t)(range >> 32);
            if (part >= (int64_t)(range & 0xffffffffU)) break;
            self->run(self->argument, part);
            atomic_fetch_add(&self->done, 1);
        }
    }
}

static void *work(void *argument) {
    place own = *(place *)argument;
    free(argument);
    team *self = own.team;
    for (unsigned round = 0;;) {
        wait_for_round(self, round);
        round = atomic_load(&self->round);
        if (atomic_load(&self->stop)) return NULL;
        take_parts(self, own.member);
    }
}

/* Start the members' threads with all signals blocked: signals are handled by the program's threads. */
static void start_threads(team *self, int size) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (self->size < size) {
        place *own = malloc(sizeof *own);
        if (!own) break;
        *own = (place){self, self->size};
        if (pthread_create(&self->threads[self->size], NULL, work, own)) {
            free(own);
            break;
        }
        self->size++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

team *team_start(int size) {
    team *self = calloc(1, sizeof *self);
    if (!self) return NULL;
    self->size = 1;
    self->threads = calloc((size_t)size, sizeof *self->threads);
    self->shares = calloc((size_t)size, sizeof *self->shares);
    pthread_mutex_init(&self->turn, NULL);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->wake, NULL);
    if (self->threads && self->shares) start_threads(self, size);
    if (self->size == size) return self;
    team_end(self);
    return NULL;
}

void team_end(team *self) {
    if (!self) return;
    atomic_store(&self->stop, 1);
    next_round(self);
    for (int member = 1; member < self->size; member++) pthread_join(self->threads[member], NULL);
    pthread_cond_destroy(&self->wake);
    pthread_mutex_destroy(&self->lock);
    pthread_mutex_destroy(&self->turn);
    free(self->threads);
    free(self->shares);
    free(self);
}

team *team_take(team *self) { return self && pthread_mutex_trylock(&self->turn) == 0 ? self : NULL; }

void team_leave(team *self) {
    if (self) pthread_mutex_unlock(&self->turn);
}

void team_share(team *self, task run, const void *argument, int64_t parts) {
    if (!self || parts < 2) {
        for (int64_t part = 0; part < parts; part++) run(argument, part);
        return;
    }
    self->run = run;
    self->argument = argument;
    atomic_store(&self->done, 0);
    for (int member = 0; member < self->size; member++) {
        const unsigned long long first = (unsigned long long)(parts * member / self->size);
        const unsigned long long last = (unsigned long long)(parts * (member + 1) / self->size);
        atomic_store(&self->shares[member].range, first << 32 | last);
    }
    next_round(self);
    take_parts(self, 0);
    for (unsigned spin = 0; atomic_load(&self->done) < parts; spin++) {
        if (spin < SPINS)
            pause_briefly();
        else
            sched_yield();
    }
}
