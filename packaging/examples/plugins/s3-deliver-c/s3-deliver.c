/* A delivery plugin in C: puts each message into an object storage, signed with AWS Signature
 * Version 4. One thread drives all transfers: none is held by a delivery that waits. */
#define _POSIX_C_SOURCE 200809L
#include <HalonMTA.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Transfers at once; further ones wait inside of libcurl. */
#define CONNECTIONS 64L

struct transfer {
    HalonDeliverContext *context;
    CURL *curl;
    char *url;
    FILE *message;
    char answer[512];
    size_t answered;
    struct transfer *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct transfer *first, **last = &first;
static bool stopping;
static pthread_t worker;
static CURLM *multi;
static struct curl_slist *headers;
static char *endpoint, *bucket, *sigv4, *credentials;

HALON_EXPORT
int Halon_version(void)
{
    return HALONMTA_PLUGIN_VERSION;
}

static char *join(const char *a, const char *b, const char *c, const char *d)
{
    size_t size = strlen(a) + strlen(b) + strlen(c) + strlen(d) + 1;
    char *text = malloc(size);
    if (text != NULL)
        snprintf(text, size, "%s%s%s%s", a, b, c, d);
    return text;
}

/* The key as part of an URL: what the signature calls the canonical form. */
static char *encode(const char *key, size_t length)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
    char *text = malloc(3 * length + 1), *to = text;
    for (size_t at = 0; text != NULL && at < length; at++) {
        if (key[at] != '\0' && strchr(plain, key[at]) != NULL)
            *to++ = key[at];
        else
            to += snprintf(to, 4, "%%%02X", (unsigned)(unsigned char)key[at]);
    }
    if (to != NULL)
        *to = '\0';
    return text;
}

static size_t read_message(char *buffer, size_t size, size_t count, void *user)
{
    struct transfer *transfer = user;
    size_t got = fread(buffer, 1, size * count, transfer->message);
    return got == 0 && ferror(transfer->message) ? CURL_READFUNC_ABORT : got;
}

static int seek_message(void *user, curl_off_t offset, int origin)
{
    struct transfer *transfer = user;
    return fseek(transfer->message, (long)offset, origin) == 0 ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

/* Keeps the beginning of what the storage says: it explains errors. */
static size_t keep_answer(char *data, size_t size, size_t count, void *user)
{
    struct transfer *transfer = user;
    size_t room = sizeof transfer->answer - 1 - transfer->answered, given = size * count;
    size_t kept = given < room ? given : room;
    for (size_t at = 0; at < kept; at++) {
        char octet = data[at];
        transfer->answer[transfer->answered + at] = octet < ' ' || octet > '~' ? ' ' : octet;
    }
    transfer->answered += kept;
    return given;
}

static void finish(struct transfer *transfer)
{
    HalonMTA_deliver_done(transfer->context);
    if (transfer->curl != NULL)
        curl_easy_cleanup(transfer->curl);
    free(transfer->url);
    free(transfer);
}

static void fail(struct transfer *transfer, const char *reason)
{
    HalonMTA_deliver_setinfo(transfer->context, HALONMTA_ERROR_REASON, reason, 0);
    finish(transfer);
}

/* A status becomes what the queue understands: 408, 429 and 5xx pass, other refusals do not. */
static short smtp_code(long status)
{
    if (status >= 200 && status <= 299)
        return 250;
    return status == 408 || status == 429 || status >= 500 ? 451 : 550;
}

static void ended(struct transfer *transfer, CURLcode result)
{
    long status = 0;
    if (result != CURLE_OK) {
        fail(transfer, curl_easy_strerror(result));
        return;
    }
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    short code = smtp_code(status);
    double number = (double)status;
    char reason[sizeof transfer->answer + 50];
    HalonHSLValue *returned = NULL, *key, *value;
    transfer->answer[transfer->answered] = '\0';
    snprintf(reason, sizeof reason, "storage answered %ld %s", status, transfer->answer);
    HalonMTA_deliver_getinfo(transfer->context, HALONMTA_INFO_RETURN, NULL, 0, &returned, NULL);
    HalonMTA_hsl_value_array_add(returned, &key, &value);
    HalonMTA_hsl_value_set(key, HALONMTA_HSL_TYPE_STRING, "status", 0);
    HalonMTA_hsl_value_set(value, HALONMTA_HSL_TYPE_NUMBER, &number, 0);
    HalonMTA_deliver_setinfo(transfer->context, HALONMTA_RESULT_CODE, &code, 0);
    HalonMTA_deliver_setinfo(transfer->context, HALONMTA_RESULT_REASON, reason, 0);
    finish(transfer);
}

/* Makes the request of a delivery and gives it to libcurl. */
static void begin(struct transfer *transfer)
{
    HalonHSLValue *arguments = NULL;
    char *key = NULL, *path;
    size_t length = 0;
    long size;
    HalonMTA_deliver_getinfo(transfer->context, HALONMTA_INFO_ARGUMENTS, NULL, 0, &arguments, NULL);
    if (!HalonMTA_hsl_value_get(HalonMTA_hsl_value_array_find(arguments, "key"),
                                HALONMTA_HSL_TYPE_STRING, &key, &length) || length == 0) {
        fail(transfer, "the argument key is missing");
        return;
    }
    if (!HalonMTA_deliver_getinfo(transfer->context, HALONMTA_INFO_FILE, NULL, 0,
                                  &transfer->message, NULL) ||
        fseek(transfer->message, 0, SEEK_END) != 0 || (size = ftell(transfer->message)) < 0) {
        fail(transfer, "the message cannot be read");
        return;
    }
    rewind(transfer->message);
    path = encode(key, length);
    transfer->curl = curl_easy_init();
    if (path != NULL)
        transfer->url = join(endpoint, bucket, "/", path);
    free(path);
    CURL *curl = transfer->curl;
    if (curl == NULL || transfer->url == NULL) {
        fail(transfer, "no memory");
        return;
    }
    curl_easy_setopt(curl, CURLOPT_URL, transfer->url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)size);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, read_message);
    curl_easy_setopt(curl, CURLOPT_READDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, seek_message);
    curl_easy_setopt(curl, CURLOPT_SEEKDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_answer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, sigv4);
    curl_easy_setopt(curl, CURLOPT_USERPWD, credentials);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 300L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PRIVATE, transfer);
    if (curl_multi_add_handle(multi, curl) != CURLM_OK)
        fail(transfer, "the transfer cannot be started");
}

/* Takes what was handed over; tells whether more may come. */
static bool take(struct transfer **list)
{
    pthread_mutex_lock(&lock);
    *list = first;
    first = NULL;
    last = &first;
    bool more = !stopping;
    pthread_mutex_unlock(&lock);
    return more;
}

static void *work(void *unused)
{
    (void)unused;
    int active = 0, left;
    for (bool more = true; more || active > 0;) {
        struct transfer *list, *next;
        more = take(&list);
        for (; list != NULL; list = next) {
            next = list->next;
            begin(list);
        }
        curl_multi_perform(multi, &active);
        for (CURLMsg *message; (message = curl_multi_info_read(multi, &left)) != NULL;) {
            struct transfer *transfer = NULL;
            CURLcode result = message->data.result;
            if (message->msg != CURLMSG_DONE)
                continue;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
            curl_multi_remove_handle(multi, message->easy_handle);
            ended(transfer, result);
        }
        if (more || active > 0)
            curl_multi_poll(multi, NULL, 0, 60000, NULL);
    }
    return NULL;
}

static const char *setting(HalonConfig *config, const char *key)
{
    const char *text = HalonMTA_config_string_get(HalonMTA_config_object_get(config, key), NULL);
    if (text == NULL || *text == '\0')
        fprintf(stderr, "s3-deliver: the setting %s is missing\n", key);
    return text == NULL ? "" : text;
}

HALON_EXPORT
bool Halon_init(HalonInitContext *init)
{
    HalonConfig *config = NULL;
    HalonMTA_init_getinfo(init, HALONMTA_INIT_CONFIG, NULL, 0, &config, NULL);
    const char *url = setting(config, "endpoint"), *name = setting(config, "bucket");
    const char *region = setting(config, "region"), *id = setting(config, "keyid");
    const char *secret = setting(config, "secret");
    if (!*url || !*name || !*region || !*id || !*secret)
        return false;
    if (curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK)
        return false;
    endpoint = join(url, url[strlen(url) - 1] == '/' ? "" : "/", "", "");
    bucket = encode(name, strlen(name));
    sigv4 = join("aws:amz:", region, ":", "s3");
    credentials = join(id, ":", secret, "");
    /* The content is streamed, so its hash is not part of the signature: use https. */
    headers = curl_slist_append(NULL, "x-amz-content-sha256: UNSIGNED-PAYLOAD");
    headers = curl_slist_append(headers, "Content-Type: message/rfc822");
    headers = curl_slist_append(headers, "Expect:");
    multi = curl_multi_init();
    if (!endpoint || !bucket || !sigv4 || !credentials || !headers || !multi)
        return false;
    curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, CONNECTIONS);
    return pthread_create(&worker, NULL, work, NULL) == 0;
}

HALON_EXPORT
void Halon_deliver(HalonDeliverContext *context)
{
    struct transfer *transfer = calloc(1, sizeof *transfer);
    if (transfer == NULL) {
        HalonMTA_deliver_setinfo(context, HALONMTA_ERROR_REASON, "no memory", 0);
        HalonMTA_deliver_done(context);
        return;
    }
    transfer->context = context;
    pthread_mutex_lock(&lock);
    *last = transfer;
    last = &transfer->next;
    pthread_mutex_unlock(&lock);
    curl_multi_wakeup(multi);
}

HALON_EXPORT
void Halon_cleanup(void)
{
    pthread_mutex_lock(&lock);
    stopping = true;
    pthread_mutex_unlock(&lock);
    curl_multi_wakeup(multi);
    pthread_join(worker, NULL);
    curl_multi_cleanup(multi);
    curl_slist_free_all(headers);
    free(endpoint);
    free(bucket);
    free(sigv4);
    free(credentials);
}
