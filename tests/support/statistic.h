/* What the library has counted in this process. */
#ifndef SUPPORT_STATISTIC_H
#define SUPPORT_STATISTIC_H

/* The sum of the numbers of that name whose labels have that in them. */
unsigned long long statistic(const char *name, const char *labels);

#endif
