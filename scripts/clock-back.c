// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Preloaded by "dmasafe selftest": the wall clock goes back by an hour, once a second; the monotonic clock does not
 * care. Built by gcc -shared, not by Kbuild.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

#define BACK_S 3600

static int real(clockid_t id, struct timespec *now)
{
	static int (*next)(clockid_t id, struct timespec *now);

	if (!next)
		next = dlsym(RTLD_NEXT, "clock_gettime");
	return next(id, now);
}

int clock_gettime(clockid_t id, struct timespec *now)
{
	struct timespec steady;
	int ret = real(id, now);

	if (!ret && id == CLOCK_REALTIME && !real(CLOCK_MONOTONIC, &steady))
		now->tv_sec -= steady.tv_sec % (365 * 24) * BACK_S;
	return ret;
}

int gettimeofday(struct timeval *now, void *zone)
{
	struct timespec time;
	int ret = clock_gettime(CLOCK_REALTIME, &time);

	(void)zone;
	now->tv_sec = time.tv_sec;
	now->tv_usec = time.tv_nsec / 1000;
	return ret;
}

time_t time(time_t *now)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	if (now)
		*now = time.tv_sec;
	return time.tv_sec;
}
