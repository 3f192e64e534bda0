/* Two threads write to one variable: what a sanitizer must find. */
#include <HalonMTA.h>
#include <pthread.h>

static int shared;

HALON_EXPORT int Halon_version(void) { return HALONMTA_PLUGIN_VERSION; }

static void *work(void *unused)
{
    ++shared;
    return unused;
}

HALON_EXPORT bool Halon_init(HalonInitContext *context)
{
    pthread_t thread;
    (void)context;
    pthread_create(&thread, NULL, work, NULL);
    ++shared;
    pthread_join(thread, NULL);
    return true;
}
