/* A temporary folder that outlives nobody. */
#ifndef SUPPORT_FOLDER_H
#define SUPPORT_FOLDER_H

struct folder;

/* Removed by folder_remove, and also when this process dies in whatever way: a small process of
 * its own sees to that. Call it from a thread that lives as long as the folder is needed. */
struct folder *folder_create(void);
const char *folder_path(const struct folder *folder);
void folder_remove(struct folder *folder);

#endif
