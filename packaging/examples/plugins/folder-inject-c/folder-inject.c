/* A message source in C: injects the *.eml files of a folder, and removes what was taken. */
#define _POSIX_C_SOURCE 200809L
#include <HalonMTA.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool stopping, running;
static pthread_t worker;
static char *folder, *server;
static long interval = 5;

/* One message on its way; its result comes on another thread. */
struct answer {
    bool done;
    short code;
};

HALON_EXPORT
int Halon_version(void)
{
    return HALONMTA_PLUGIN_VERSION;
}

static const char *setting(HalonConfig *config, const char *key)
{
    return HalonMTA_config_string_get(HalonMTA_config_object_get(config, key), NULL);
}

HALON_EXPORT
bool Halon_init(HalonInitContext *init)
{
    HalonConfig *config = NULL;
    HalonMTA_init_getinfo(init, HALONMTA_INIT_CONFIG, NULL, 0, &config, NULL);
    const char *where = setting(config, "folder"), *id = setting(config, "serverid");
    const char *seconds = setting(config, "interval");
    if (where == NULL || id == NULL) {
        fprintf(stderr, "folder-inject: folder and serverid must be set\n");
        return false;
    }
    if (seconds != NULL)
        interval = strtol(seconds, NULL, 10);
    folder = strdup(where);
    server = strdup(id);
    return folder != NULL && server != NULL && interval > 0;
}

static void answered(HalonInjectResultContext *context, void *user)
{
    struct answer *answer = user;
    short code = 0;
    HalonMTA_inject_result_getinfo(context, HALONMTA_RESULT_CODE, NULL, 0, &code, NULL);
    pthread_mutex_lock(&lock);
    answer->code = code;
    answer->done = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* Appends the whole file to a message, and tells the hook its name. */
static bool append(HalonInjectContext *context, FILE *file, const char *name)
{
    char buffer[65536];
    size_t count;
    HalonHSLValue *metadata = NULL, *key, *value;
    HalonMTA_inject_getinfo(context, HALONMTA_MESSAGE_METADATA, NULL, 0, &metadata, NULL);
    HalonMTA_hsl_value_array_add(metadata, &key, &value);
    HalonMTA_hsl_value_set(key, HALONMTA_HSL_TYPE_STRING, "file", 0);
    HalonMTA_hsl_value_set(value, HALONMTA_HSL_TYPE_STRING, name, 0);
    while ((count = fread(buffer, 1, sizeof buffer, file)) > 0)
        if (!HalonMTA_inject_message_append(context, buffer, count))
            return false;
    return !ferror(file);
}

/* Injects a file and waits for the result; 0 if it could not be handed in. */
static short inject(const char *path, const char *name)
{
    struct answer answer = {false, 0};
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return 0;
    HalonInjectContext *context = HalonMTA_inject_new(server);
    HalonMTA_inject_callback_set(context, answered, &answer);
    bool good = append(context, file, name);
    fclose(file);
    if (!good || !HalonMTA_inject_commit(context)) {
        fprintf(stderr, "folder-inject: %s cannot be handed to the server %s\n", name, server);
        HalonMTA_inject_abort(context);
        return 0;
    }
    pthread_mutex_lock(&lock);
    while (!answer.done)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return answer.code;
}

static bool is_stopping(void)
{
    pthread_mutex_lock(&lock);
    bool answer = stopping;
    pthread_mutex_unlock(&lock);
    return answer;
}

/* What was accepted is removed; what was refused for good is put aside; the rest stays. */
static void look(void)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        fprintf(stderr, "folder-inject: %s: %s\n", folder, strerror(errno));
        return;
    }
    for (struct dirent *entry; !is_stopping() && (entry = readdir(dir)) != NULL;) {
        char path[PATH_MAX], aside[PATH_MAX];
        size_t length = strlen(entry->d_name);
        if (entry->d_name[0] == '.' || length < 5 || strcmp(entry->d_name + length - 4, ".eml") != 0)
            continue;
        int written = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        int other = snprintf(aside, sizeof aside, "%s/%s.refused", folder, entry->d_name);
        if (written < 0 || other < 0 || (size_t)other >= sizeof aside)
            continue;
        short code = inject(path, entry->d_name);
        if (code >= 200 && code <= 299)
            unlink(path);
        else if (code >= 500)
            rename(path, aside);
    }
    closedir(dir);
}

static void *work(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&lock);
    while (!stopping) {
        struct timespec until;
        pthread_mutex_unlock(&lock);
        look();
        pthread_mutex_lock(&lock);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += interval;
        while (!stopping && pthread_cond_timedwait(&changed, &lock, &until) != ETIMEDOUT)
            ;
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* From here on messages may be injected. */
HALON_EXPORT
void Halon_ready(HalonReadyContext *ready)
{
    (void)ready;
    running = pthread_create(&worker, NULL, work, NULL) == 0;
}

/* Results still arrive while this waits for the one message that may be under way. */
HALON_EXPORT
void Halon_early_cleanup(void)
{
    pthread_mutex_lock(&lock);
    stopping = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    if (running)
        pthread_join(worker, NULL);
    free(folder);
    free(server);
}
