#define _POSIX_C_SOURCE 200809L

#include "shares.h"

#include <fenv.h>
#include <stdatomic.h>
#include <unistd.h>

static pid_t owner;

static __attribute__((constructor)) void remember_process(void) { owner = getpid(); }

typedef struct {
    share_function *run, *together;
    int (*team_size)(void);
    const void *argument;
    int64_t count;
    fenv_t environment;
    atomic_llong taken;
} shares;

static void take_shares(void *argument) {
    shares *all = argument;
    fenv_t own;
    fegetenv(&own);
    fesetenv(&all->environment);
    share_function *run = all->team_size && all->team_size() == all->count ? all->together : all->run;
    for (;;) {
        const int64_t share = atomic_fetch_add(&all->taken, 1);
        if (share >= all->count) break;
        run(all->argument, share);
    }
    fesetenv(&own);
}

void shares_run_together(
    share_function *together, share_function *apart, const void *argument, int64_t count, parallel *start, int (*team_size)(void)) {
    shares all = {.run = apart, .together = together, .argument = argument, .count = count};
    fegetenv(&all.environment);
    if (start && count > 1 && getpid() == owner) {
        all.team_size = team_size;
        start(take_shares, &all, (unsigned)count, 0);
    } else {
        take_shares(&all);
    }
}

void shares_run(share_function *run, const void *argument, int64_t count, parallel *start) {
    shares_run_together(NULL, run, argument, count, start, NULL);
}
