/* A delivery plugin in C: writes each message to a file of its own, which is there whole or not at
 * all. Deliveries must not block, so they are handed to a thread. */
#define _POSIX_C_SOURCE 200809L
#include <HalonMTA.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct job {
    HalonDeliverContext *context;
    struct job *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct job *first, **last = &first;
static bool stopping;
static pthread_t worker;
static char *folder;

HALON_EXPORT
int Halon_version(void)
{
    return HALONMTA_PLUGIN_VERSION;
}

/* Copies the message to the file, and makes it durable. */
static bool copy(FILE *message, int file)
{
    char buffer[65536];
    size_t count;
    rewind(message);
    while ((count = fread(buffer, 1, sizeof buffer, message)) > 0) {
        for (size_t done = 0; done < count;) {
            ssize_t written = write(file, buffer + done, count - done);
            if (written < 0 && errno != EINTR)
                return false;
            if (written > 0)
                done += (size_t)written;
        }
    }
    if (ferror(message)) {
        errno = EIO;
        return false;
    }
    return fsync(file) == 0;
}

/* Makes the name of the file durable too. */
static bool sync_folder(void)
{
    int file = open(folder, O_RDONLY | O_DIRECTORY);
    bool good = file >= 0 && fsync(file) == 0;
    if (file >= 0)
        close(file);
    return good;
}

/* Stores the message under a name that no other has; false with errno. */
static bool store(HalonDeliverContext *context, char *path, size_t size)
{
    HalonQueueMessage *message = NULL;
    FILE *content = NULL;
    const char *transaction = NULL;
    size_t queue = 0;
    char temporary[PATH_MAX];
    HalonMTA_deliver_getinfo(context, HALONMTA_INFO_MESSAGE, NULL, 0, &message, NULL);
    HalonMTA_message_getinfo(message, HALONMTA_MESSAGE_TRANSACTIONID, NULL, 0, &transaction, NULL);
    HalonMTA_message_getinfo(message, HALONMTA_MESSAGE_QUEUEID, NULL, 0, &queue, NULL);
    if (!HalonMTA_deliver_getinfo(context, HALONMTA_INFO_FILE, NULL, 0, &content, NULL) ||
        transaction == NULL) {
        errno = EIO;
        return false;
    }
    int length = snprintf(path, size, "%s/%s-%zu.eml", folder, transaction, queue);
    int other = snprintf(temporary, sizeof temporary, "%s/.%s-%zu.tmp", folder, transaction, queue);
    if (length < 0 || (size_t)length >= size || other < 0 || (size_t)other >= sizeof temporary) {
        errno = ENAMETOOLONG;
        return false;
    }
    int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    if (file < 0)
        return false;
    bool good = copy(content, file);
    int error = errno;
    if (close(file) != 0 && good) {
        good = false;
        error = errno;
    }
    if (good && rename(temporary, path) == 0)
        return sync_folder();
    if (good)
        error = errno;
    unlink(temporary);
    errno = error;
    return false;
}

static void deliver(HalonDeliverContext *context)
{
    char path[PATH_MAX], reason[PATH_MAX + 100];
    if (store(context, path, sizeof path)) {
        short code = 250;
        HalonHSLValue *result = NULL, *key, *value;
        HalonMTA_deliver_getinfo(context, HALONMTA_INFO_RETURN, NULL, 0, &result, NULL);
        HalonMTA_hsl_value_array_add(result, &key, &value);
        HalonMTA_hsl_value_set(key, HALONMTA_HSL_TYPE_STRING, "path", 0);
        HalonMTA_hsl_value_set(value, HALONMTA_HSL_TYPE_STRING, path, 0);
        HalonMTA_deliver_setinfo(context, HALONMTA_RESULT_CODE, &code, 0);
        HalonMTA_deliver_setinfo(context, HALONMTA_RESULT_REASON, "stored", 0);
    } else {
        /* A full disk, say: always temporary. */
        snprintf(reason, sizeof reason, "cannot store in %s: %s", folder, strerror(errno));
        HalonMTA_deliver_setinfo(context, HALONMTA_ERROR_REASON, reason, 0);
    }
    HalonMTA_deliver_done(context);
}

static void *work(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (first == NULL && !stopping)
            pthread_cond_wait(&changed, &lock);
        struct job *job = first;
        if (job == NULL)
            break;
        first = job->next;
        if (first == NULL)
            last = &first;
        pthread_mutex_unlock(&lock);
        deliver(job->context);
        free(job);
        pthread_mutex_lock(&lock);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

HALON_EXPORT
bool Halon_init(HalonInitContext *init)
{
    HalonConfig *config = NULL;
    HalonMTA_init_getinfo(init, HALONMTA_INIT_CONFIG, NULL, 0, &config, NULL);
    const char *text = HalonMTA_config_string_get(HalonMTA_config_object_get(config, "folder"), NULL);
    if (text == NULL || access(text, W_OK | X_OK) != 0) {
        fprintf(stderr, "file-deliver: the setting folder names no folder that can be written\n");
        return false;
    }
    folder = strdup(text);
    return folder != NULL && pthread_create(&worker, NULL, work, NULL) == 0;
}

HALON_EXPORT
void Halon_deliver(HalonDeliverContext *context)
{
    struct job *job = malloc(sizeof *job);
    if (job == NULL) {
        HalonMTA_deliver_setinfo(context, HALONMTA_ERROR_REASON, "no memory", 0);
        HalonMTA_deliver_done(context);
        return;
    }
    job->context = context;
    job->next = NULL;
    pthread_mutex_lock(&lock);
    *last = job;
    last = &job->next;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

/* What was handed over is still written. */
HALON_EXPORT
void Halon_cleanup(void)
{
    pthread_mutex_lock(&lock);
    stopping = true;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    pthread_join(worker, NULL);
    free(folder);
}
