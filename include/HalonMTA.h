/*
 * HalonMTA.h: what native plugins and the programs smtpd and hsh say to each other.
 *
 * A plugin is a shared library that exports some of the Halon_* entry points named below. The
 * HalonMTA_* functions are provided by the program that loads it: leave them undefined when you
 * link. Plain C99 and C++17; cgo and bindgen can read this file.
 *
 * Rules that hold everywhere
 *
 * Text given to the host is copied. A length of 0 beside text means NUL-terminated. Text that the
 * host gives is always NUL-terminated; where a length is given too, it may hold further NULs.
 * Memory that one side allocates and the other frees comes from malloc and goes to free; each such
 * place says so. Everything else is borrowed.
 *
 * Output pointers named len, outlen, key or errlen may be NULL unless something else is said.
 * Every handle may be NULL: a function then does nothing and returns false, 0 or NULL.
 * The parameters in and inlen of the getinfo functions are reserved: NULL and 0.
 *
 * "any thread" below means also threads that the plugin started. Functions on a value, a
 * configuration node or an object may be called from any thread for which the handle is valid.
 *
 * Numbers and prototypes never change. What is new is appended under a new name.
 */
#ifndef HALONMTA_H
#define HALONMTA_H

#include <stdbool.h>
#include <stddef.h>

/* Stands before an entry point, on a line of its own. */
#if defined(__cplusplus)
#define HALON_EXPORT extern "C" __attribute__((visibility("default")))
#else
#define HALON_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Version. Halon_version returns it; a plugin compiled against another one is refused.
 */
#define HALONMTA_PLUGIN_VERSION 56001

/*
 * Handles. Never look inside.
 */
typedef struct HalonInitContext HalonInitContext;                     /* during an init call */
typedef struct HalonReadyContext HalonReadyContext;                   /* during Halon_ready */
typedef struct HalonConfig HalonConfig;                               /* as long as the process */
typedef struct HalonCommandExecuteContext HalonCommandExecuteContext; /* during a command */
typedef struct HalonHSLRegisterContext HalonHSLRegisterContext;       /* during registration */
typedef struct HalonHSLContext HalonHSLContext;     /* until the function returned, or until it was
                                                       scheduled when it suspended */
typedef struct HalonHSLArguments HalonHSLArguments; /* as the context of the call */
typedef struct HalonHSLValue HalonHSLValue;         /* as what it belongs to */
typedef struct HalonHSLObject HalonHSLObject;       /* until HalonMTA_hsl_object_delete */
typedef struct HalonDeliverContext HalonDeliverContext; /* until HalonMTA_deliver_done */
typedef struct HalonQueueContext HalonQueueContext;     /* during a callback of the queue */
typedef struct HalonQueueMessage HalonQueueMessage;     /* as the context it came from */
typedef struct HalonInjectContext HalonInjectContext;   /* until commit succeeded, or abort */
typedef struct HalonInjectResultContext HalonInjectResultContext; /* during the callback */

/* A function that scripts call. The return slot starts as none. */
typedef void HalonHSLFunction(HalonHSLContext *, HalonHSLArguments *, HalonHSLValue *);

/*
 * Entry points. Only Halon_version is required. Not declared here, so that every language can
 * define them in its own way; in C++ put HALON_EXPORT before them.
 *
 *   int  Halon_version(void)
 *        Right after loading. Returns HALONMTA_PLUGIN_VERSION. Since 5.6.
 *   bool Halon_early_init(HalonInitContext *)
 *        Main thread, before policies and suspends are applied. False: the program does not start.
 *        Since 5.8.
 *   bool Halon_init(HalonInitContext *)
 *        Main thread, after early init of all plugins. False: the program does not start. Queue
 *        functions may be called meanwhile from other threads. Since 5.6.
 *   bool Halon_hsl_register(HalonHSLRegisterContext *)
 *        Main thread, after init; may be called again. False: the program does not start. Since 5.6.
 *   void Halon_ready(HalonReadyContext *)
 *        Main thread, once servers and queue are up: messages may be injected. Since 6.0.
 *   void Halon_config_reload(HalonConfig *)
 *        With the new running block, at the same time as any other call. Since 5.6.
 *   bool Halon_command_execute(HalonCommandExecuteContext *, size_t argc, const char *argv[],
 *                              size_t argvl[], char **out, size_t *outlen)
 *        halonctl plugin command. argv does not hold the plugin's id. *out, if set, is a malloc
 *        block that the host frees: *outlen octets, or NUL-terminated text if that is 0. Since 5.8.
 *   bool Halon_plugin_command(const char *in, size_t len, char **out, size_t *outlen)
 *        The older form, used when the newer one is absent: the words joined by spaces. Since 5.6.
 *   void Halon_deliver(HalonDeliverContext *)
 *        A delivery attempt. Must not block: hand it to a thread of yours. Since 5.7.
 *   bool Halon_queue_pickup_acquire2(HalonQueueContext *)
 *        A message is about to be delivered. False gives it back to its pre-delivery script. Must
 *        not block. Since 5.12.
 *   bool Halon_queue_pickup_acquire(HalonQueueMessage *)
 *        The older form of it. Since 5.8.
 *   bool Halon_queue_insert_callback(HalonQueueContext *)
 *        A message is about to enter the active queue. False refuses it. Must not block. Since 6.7.
 *   void Halon_early_cleanup(void)
 *        Shutdown begins: take no new work. Results of injections still arrive. Since 6.0.
 *   void Halon_cleanup(void)
 *        The last call. The library stays loaded. Since 5.6.
 */

/*
 * Initialisation
 */
#define HALONMTA_INIT_CONFIG 1    /* out: HalonConfig **, "config" of smtpd.yaml. Since 5.6 */
#define HALONMTA_INIT_APPCONFIG 2 /* out: HalonConfig **, "config" of smtpd-app.yaml. Since 5.6 */

/* Gives the configuration of this plugin. Thread: that of the init call. The out pointer is always
 * written; a block that is missing is an empty object. Borrowed, valid as long as the process. Since
 * 5.6. */
bool HalonMTA_init_getinfo(HalonInitContext *context, int type, const void *in, size_t inlen,
                           void *out, size_t *outlen);

/*
 * Configuration. Any thread. Nodes are borrowed and valid as long as the process.
 */

/* Finds a member of an object. NULL if there is none, or the node is NULL or no object. Since 5.6. */
HalonConfig *HalonMTA_config_object_get(HalonConfig *config, const char *key);

/* Gives the key at a position, in the order of the file, as a scalar node. NULL past the end, or if
 * the node is NULL or no object. Since 6.5. */
HalonConfig *HalonMTA_config_object_key_get(HalonConfig *config, size_t index);

/* Gives the element at a position. NULL past the end, or if the node is NULL or no array. Since 5.6. */
HalonConfig *HalonMTA_config_array_get(HalonConfig *config, size_t index);

/* Gives the text of a scalar as written in the file (numbers and booleans too). Empty on objects and
 * arrays; NULL only for a NULL node. Borrowed. Since 5.6. */
const char *HalonMTA_config_string_get(HalonConfig *config, size_t *len);

/* Gives a node as JSON; scalars keep their YAML type. The caller frees *out. False for a NULL node,
 * with *out NULL. Since 6.0. */
bool HalonMTA_config_to_json(HalonConfig *config, char **out, size_t *len);

/*
 * Registration. Thread: that of Halon_hsl_register. Names are copied. A NULL function means the
 * function that the plugin exports under the name. False: the name is no identifier, or there is no
 * such function. A constructor is a plain function with the name of its class.
 */

/* Registers a global function. Since 5.6. */
bool HalonMTA_hsl_register_function(HalonHSLRegisterContext *context, const char *name,
                                    HalonHSLFunction *function);

/* Registers a static function of a global class. Since 5.8. */
bool HalonMTA_hsl_register_static_function(HalonHSLRegisterContext *context, const char *cls,
                                           const char *name, HalonHSLFunction *function);

/* Registers a function for import from "extras://<plugin id>". Since 5.10. */
bool HalonMTA_hsl_module_register_function(HalonHSLRegisterContext *context, const char *name,
                                           HalonHSLFunction *function);

/* Registers a static function of a class for import. Since 5.10. */
bool HalonMTA_hsl_module_register_static_function(HalonHSLRegisterContext *context, const char *cls,
                                                  const char *name, HalonHSLFunction *function);

/*
 * Calls of scripts
 */

/* Gives an argument, borrowed until the call is over. NULL if fewer were given. Since 5.6. */
HalonHSLValue *HalonMTA_hsl_argument_get(HalonHSLArguments *arguments, size_t index);

/* The same under another name. Since 5.6. */
HalonHSLValue *HalonMTA_hsl_argument_list(HalonHSLArguments *arguments, size_t index);

/* Counts the arguments. 0 for NULL. Since 5.8. */
size_t HalonMTA_hsl_argument_length(HalonHSLArguments *arguments);

/* Types of values.     value_get writes to         value_set reads from */
#define HALONMTA_HSL_TYPE_NONE 0       /* nothing                     nothing */
#define HALONMTA_HSL_TYPE_BOOLEAN 1    /* bool *                      const bool * */
#define HALONMTA_HSL_TYPE_NUMBER 2     /* double *                    const double * */
#define HALONMTA_HSL_TYPE_STRING 3     /* char **, length in outlen   const char *, length */
#define HALONMTA_HSL_TYPE_ARRAY 4      /* nothing                     nothing: an empty array */
#define HALONMTA_HSL_TYPE_EXCEPTION 5  /* -                           const char *, length */
#define HALONMTA_HSL_TYPE_OBJECT 6     /* -                           HalonHSLObject *, shared */
#define HALONMTA_HSL_TYPE_THIS 7       /* -                           HalonHSLContext * of a method */
#define HALONMTA_HSL_TYPE_FILE 8       /* FILE **                     - */
#define HALONMTA_HSL_TYPE_X509 9       /* X509 **                     X509 *, handed over */
#define HALONMTA_HSL_TYPE_PRIVATEKEY 10 /* EVP_PKEY **                - */

/* Gives the type of a value; NONE for NULL and for what has no type here. Since 5.6. */
int HalonMTA_hsl_value_type(const HalonHSLValue *value);

/* Gives a value without conversion: false, and nothing written, if it is of another type or NULL.
 * Pointers are borrowed until the call is over: text, FILE (never close it; seek as you like), X509
 * and EVP_PKEY (of the system's libcrypto). Since 5.6; FILE 5.8, X509 and PRIVATEKEY 6.1. */
bool HalonMTA_hsl_value_get(const HalonHSLValue *value, int type, void *out, size_t *outlen);

/* Sets a value. Text is copied; NULL with length 0 is empty text. False if type and data do not fit
 * or the value is NULL. Since 5.6. */
bool HalonMTA_hsl_value_set(HalonHSLValue *value, int type, const void *data, size_t len);

/* Counts the pairs of an array; 0 for NULL and anything else. Since 5.8. */
size_t HalonMTA_hsl_value_array_length(const HalonHSLValue *value);

/* Gives the value, and through key the key, at a position. NULL past the end, for NULL and anything
 * but an array. Since 5.6. */
HalonHSLValue *HalonMTA_hsl_value_array_get(const HalonHSLValue *value, size_t index,
                                            HalonHSLValue **key);

/* Finds the value of a key. NULL if there is none, for NULL and anything but an array. Since 5.6. */
HalonHSLValue *HalonMTA_hsl_value_array_find(const HalonHSLValue *value, const char *key);

/* Appends a pair whose key and value are none, to be set in any order at any time before the call is
 * over. A none value becomes an array. False, with both NULL, for anything else. Pointers to pairs
 * stay valid while further ones are added. Since 5.6. */
bool HalonMTA_hsl_value_array_add(HalonHSLValue *value, HalonHSLValue **key,
                                  HalonHSLValue **item);

#define HALONMTA_JSON_ENCODE_NO_ENSURE_ASCII 1 /* to_json2: UTF-8 as it is. Since 6.10 */
#define HALONMTA_JSON_DECODE_UNICODE_BYTE 2    /* from_json2: \u00XX is one octet. Since 6.10 */

/* Writes a value as JSON in ASCII. The caller frees *out: the JSON, or on false the error. NULL is
 * null. An empty array is []. Since 5.8. */
bool HalonMTA_hsl_value_to_json(const HalonHSLValue *value, char **out, size_t *outlen);

/* The same with HALONMTA_JSON_ENCODE_* flags. Since 6.10. */
bool HalonMTA_hsl_value_to_json2(const HalonHSLValue *value, char **out, size_t *outlen, int flags);

/* Sets a value from NUL-terminated JSON. On false the value is as it was and *err is NULL or text
 * that the caller frees; on true it is NULL. err may be NULL. Since 5.8. */
bool HalonMTA_hsl_value_from_json(HalonHSLValue *value, const char *json, char **err,
                                  size_t *errlen);

/* The same with HALONMTA_JSON_DECODE_* flags. Since 6.10. */
bool HalonMTA_hsl_value_from_json2(HalonHSLValue *value, const char *json, char **err,
                                   size_t *errlen, int flags);

/* Gives the slot of the exception. Set it to HALONMTA_HSL_TYPE_EXCEPTION: the script throws after the
 * function has returned (or was scheduled), and the return slot is ignored. Since 5.8. */
HalonHSLValue *HalonMTA_hsl_throw(HalonHSLContext *context);

/* Blocks inside the call until it is scheduled, and comes back. Holds a thread of the host, which has
 * 512 for this; further calls of functions that block wait for their turn outside. Prefer
 * HalonMTA_hsl_suspend_return. Thread: that of the call. Since 5.10. */
void HalonMTA_hsl_suspend(HalonHSLContext *context);

/* Suspends the script when the function returns, until it is scheduled; no thread is held. Meanwhile
 * arguments and return slot are the plugin's, on any thread. Thread: that of the call. Since 5.6. */
void HalonMTA_hsl_suspend_return(HalonHSLContext *context);

/* Wakes a script, once per suspend, from any thread. May come before the suspend: it is kept. After
 * it, context, arguments and return slot are off limits. Since 5.6. */
void HalonMTA_hsl_schedule(HalonHSLContext *context);

/*
 * Objects. Any thread, while the call lasts that they are given to.
 */

/* Makes an object. End the reference with HalonMTA_hsl_object_delete. Since 5.8. */
HalonHSLObject *HalonMTA_hsl_object_new(void);

/* Ends the creator's reference; scripts keep theirs. Since 5.8. */
void HalonMTA_hsl_object_delete(HalonHSLObject *object);

/* Names the type that scripts see. False once a script has the object. Since 5.8. */
bool HalonMTA_hsl_object_type_set(HalonHSLObject *object, const char *type);

/* Adds a method. A NULL function is looked up by name. False once a script has the object. Since
 * 5.8. */
bool HalonMTA_hsl_object_register_function(HalonHSLObject *object, const char *name,
                                           HalonHSLFunction *function);

/* Stores a pointer, never read by the host. free_cb (may be NULL) gets it once, on any thread, when
 * the last reference is gone. A pointer stored before is the plugin's again. Since 5.8. */
bool HalonMTA_hsl_object_ptr_set(HalonHSLObject *object, void *ptr, void (*free_cb)(void *));

/* Gives the pointer of the object whose method is running; NULL in a plain function. Since 5.8. */
void *HalonMTA_hsl_object_ptr_get(HalonHSLContext *context);

/*
 * Delivery. Any thread, until HalonMTA_deliver_done.
 */
#define HALONMTA_INFO_FILE 1      /* deliver: FILE **, the message, seekable. Since 5.7 */
#define HALONMTA_INFO_MESSAGE 2   /* deliver, queue: HalonQueueMessage **. Since 5.10, 5.12 */
#define HALONMTA_INFO_ARGUMENTS 3 /* deliver: const HalonHSLValue **, false if none. Since 5.7 */
#define HALONMTA_INFO_RETURN 4    /* deliver, queue: HalonHSLValue **. Since 5.7, 5.12 */
#define HALONMTA_INFO_LOCALIPS 5  /* queue: char *** and count in outlen. Since 6.5 */

#define HALONMTA_RESULT_CODE 16   /* short: exactly two octets are read or written. Since 5.7 */
#define HALONMTA_RESULT_REASON 17 /* text. Since 5.7 */
#define HALONMTA_ERROR_REASON 18  /* text: a local error, always temporary. Since 5.7 */

/* Gives what an attempt is about. The out pointer is always written. Borrowed until done. Since 5.7. */
bool HalonMTA_deliver_getinfo(HalonDeliverContext *context, int type, const void *in, size_t inlen,
                              void *out, size_t *outlen);

/* Sets the result, copied. Codes act like those of SMTP. An attempt without any is a temporary
 * error. Since 5.7. */
bool HalonMTA_deliver_setinfo(HalonDeliverContext *context, int type, const void *data, size_t len);

/* Adds a line to the trace of the message. The second parameter is reserved: 0. Since 6.9. */
bool HalonMTA_deliver_trace(HalonDeliverContext *context, int reserved, const char *text,
                            size_t len);

/* Ends the attempt, once; also directly inside Halon_deliver. From then on the context finds nothing.
 * Since 5.7. */
void HalonMTA_deliver_done(HalonDeliverContext *context);

#define HALONMTA_MESSAGE_TRANSACTIONID 1   /* const char **, length in outlen. Since 5.8 */
#define HALONMTA_MESSAGE_QUEUEID 2         /* size_t *. Since 5.8 */
#define HALONMTA_MESSAGE_TRANSPORTID 3     /* const char **. Since 5.8 */
#define HALONMTA_MESSAGE_LOCALIP 4         /* const char **. Since 5.8 */
#define HALONMTA_MESSAGE_REMOTEIP 5        /* const char **. Since 5.8 */
#define HALONMTA_MESSAGE_REMOTEMX 6        /* const char **. Since 5.8 */
#define HALONMTA_MESSAGE_RECIPIENTDOMAIN 7 /* const char **. Since 5.8 */
#define HALONMTA_MESSAGE_JOBID 8           /* const char **. Since 5.8 */
#define HALONMTA_MESSAGE_GROUPING 9        /* const char **. Since 5.12 */
#define HALONMTA_MESSAGE_TENANTID 10       /* const char **. Since 6.5 */
#define HALONMTA_MESSAGE_METADATA 11       /* inject: HalonHSLValue **. Since 6.0 */

/* Gives a field of a message. Text is borrowed and never NULL: an empty field is empty text. False
 * for an unknown type. Since 5.8. */
bool HalonMTA_message_getinfo(HalonQueueMessage *message, int type, const void *in, size_t inlen,
                              void *out, size_t *outlen);

/*
 * Decisions of the queue. Thread: that of the callback.
 */

/* Gives HALONMTA_INFO_MESSAGE, _RETURN or _LOCALIPS. The out pointer is always written. Borrowed
 * during the callback. Since 5.12. */
bool HalonMTA_queue_getinfo(HalonQueueContext *context, int type, const void *in, size_t inlen,
                            void *out, size_t *outlen);

/* Sets HALONMTA_INFO_LOCALIPS: data is const char **, len their number. Copied. Only in the insert
 * callback. Since 6.5. */
bool HalonMTA_queue_setinfo(HalonQueueContext *context, int type, const void *data, size_t len);

/*
 * Suspends and policies. Any thread, from Halon_early_init on, also while holding a lock that your
 * queue callbacks take. NULL text is no part of the condition. propv holds keys and values in turn,
 * propl counts both. Times are seconds; a ttl of 0 is without end. A concurrency or tokens of 0 is
 * no limit. The id that is returned is yours to free; NULL on failure. In hsh, which sends nothing,
 * they succeed and have no effect.
 */
#define HALONMTA_QUEUE_TRANSPORTID 1      /* since 5.6 */
#define HALONMTA_QUEUE_LOCALIP 2          /* since 5.6 */
#define HALONMTA_QUEUE_REMOTEIP 4         /* since 5.6 */
#define HALONMTA_QUEUE_REMOTEMX 8         /* since 5.6 */
#define HALONMTA_QUEUE_RECIPIENTDOMAIN 16 /* since 5.6 */
#define HALONMTA_QUEUE_JOBID 32           /* since 5.6 */
#define HALONMTA_QUEUE_GROUPING 64        /* since 5.12 */
#define HALONMTA_QUEUE_TENANTID 128       /* since 6.5 */

#define HALONMTA_POLICY_TYPE_DYNAMIC 0 /* since 6.5 */
#define HALONMTA_POLICY_TYPE_WARMUP 1  /* every field needs a condition. Since 6.5 */
#define HALONMTA_POLICY_TYPE_BACKOFF 2 /* since 6.7 */

#define HALONMTA_RATE_ALGORITHM_DEFAULT 0     /* since 6.7 */
#define HALONMTA_RATE_ALGORITHM_FIXEDWINDOW 1 /* since 6.7 */
#define HALONMTA_RATE_ALGORITHM_TOKENBUCKET 2 /* since 6.7 */

/* Adds a suspend. Since 5.6. */
char *HalonMTA_queue_suspend_add(const char *transportid, const char *localip, const char *remoteip,
                                 const char *remotemx, const char *recipientdomain,
                                 const char *jobid, const char *tag, double ttl);

/* Adds a suspend. Since 5.12. */
char *HalonMTA_queue_suspend_add2(const char *transportid, const char *localip,
                                  const char *remoteip, const char *remotemx,
                                  const char *recipientdomain, const char *jobid,
                                  const char *grouping, const char *tag, double ttl);

/* Adds a suspend; id NULL asks for a new one. Since 6.7. */
char *HalonMTA_queue_suspend_add5(const char *id, const char *transportid, const char *localip,
                                  const char *remoteip, const char *remotemx,
                                  const char *recipientdomain, const char *jobid,
                                  const char *grouping, const char *tenantid, const char *tag,
                                  const char *propv[], size_t propl, double ttl);

/* Deletes a suspend; false if there is none of that id. Since 5.6. */
bool HalonMTA_queue_suspend_delete(const char *id);

/* Adds a policy. Since 5.6. */
char *HalonMTA_queue_policy_add(int fields, const char *transportid, const char *localip,
                                const char *remoteip, const char *remotemx,
                                const char *recipientdomain, const char *jobid, size_t concurrency,
                                size_t tokens, double interval, const char *tag, double ttl);

/* Adds a policy. Since 5.12. */
char *HalonMTA_queue_policy_add3(int fields, const char *transportid, const char *localip,
                                 const char *remoteip, const char *remotemx,
                                 const char *recipientdomain, const char *jobid,
                                 const char *grouping, size_t concurrency, size_t tokens,
                                 double interval, const char *tag, const char *propv[],
                                 size_t propl, bool stop, double ttl);

/* Adds a policy. Since 6.5. */
char *HalonMTA_queue_policy_add4(int fields, const char *transportid, const char *localip,
                                 const char *remoteip, const char *remotemx,
                                 const char *recipientdomain, const char *jobid,
                                 const char *grouping, const char *tenantid, size_t concurrency,
                                 size_t tokens, double interval, const char *tag,
                                 const char *propv[], size_t propl, bool stop, double ttl);

/* Adds a policy; id NULL asks for a new one. Since 6.8. */
char *HalonMTA_queue_policy_add6(const char *id, int fields, int type, const char *transportid,
                                 const char *localip, const char *remoteip, const char *remotemx,
                                 const char *recipientdomain, const char *jobid,
                                 const char *grouping, const char *tenantid, size_t concurrency,
                                 size_t tokens, double interval, int ratealgorithm,
                                 double connectinterval, const char *tag, const char *propv[],
                                 size_t propl, bool stop, bool cluster, double ttl);

/* Changes the limits of a policy; false if there is none of that id. Since 5.6. */
bool HalonMTA_queue_policy_update(const char *id, size_t concurrency, size_t tokens,
                                  double interval, const char *tag, double ttl);

/* The same with properties. Since 6.5. */
bool HalonMTA_queue_policy_update2(const char *id, size_t concurrency, size_t tokens,
                                   double interval, const char *tag, const char *propv[],
                                   size_t propl, double ttl);

/* The same with connect interval and cluster. Since 6.5. */
bool HalonMTA_queue_policy_update3(const char *id, size_t concurrency, size_t tokens,
                                   double interval, double connectinterval, const char *tag,
                                   const char *propv[], size_t propl, bool cluster, double ttl);

/* The same with rate algorithm and stop. Since 6.8. */
bool HalonMTA_queue_policy_update4(const char *id, size_t concurrency, size_t tokens,
                                   double interval, int ratealgorithm, double connectinterval,
                                   const char *tag, const char *propv[], size_t propl, bool stop,
                                   bool cluster, double ttl);

/* Deletes a policy; false if there is none of that id. Since 5.6. */
bool HalonMTA_queue_policy_delete(const char *id);

/* Sets the number of hosts by which limits of cluster-wide policies are divided. Since 6.5. */
void HalonMTA_queue_policy_divide(size_t hosts);

/* Adds a list of values of one field (one HALONMTA_QUEUE_* bit), for conditions of the form @list.
 * Adding it again is harmless. Any thread. False if there is no queue or no such field. Since 5.8. */
bool HalonMTA_queue_list_add(int field, const char *list);

/* Adds a value to a list, in effect after a reload. Any thread. Since 5.8. */
bool HalonMTA_queue_list_item_add(int field, const char *list, const char *value);

/* Removes a value from a list, in effect after a reload. Any thread. Since 5.8. */
bool HalonMTA_queue_list_item_delete(int field, const char *list, const char *value);

/* Makes changes take effect; field 0 is every field, list NULL every list. Any thread. Since 5.8. */
bool HalonMTA_queue_list_reload(int field, const char *list);

/*
 * Injecting messages. Any thread, between Halon_ready and the end of Halon_early_cleanup.
 */

/* Starts a message at a server of type plugin; NULL if there is none of that id. Since 6.0. */
HalonInjectContext *HalonMTA_inject_new(const char *serverid);

/* Sets who is told the result of a committed message: once, on a thread of the host. user is the
 * plugin's. Since 6.0. */
bool HalonMTA_inject_callback_set(HalonInjectContext *context,
                                  void (*callback)(HalonInjectResultContext *, void *), void *user);

/* Sets the sender; domain may be NULL. Since 6.0. */
bool HalonMTA_inject_sender_set(HalonInjectContext *context, const char *localpart,
                                const char *domain);

/* Adds a recipient; domain and transportid may be NULL. Since 6.0. */
bool HalonMTA_inject_recipient_add(HalonInjectContext *context, const char *localpart,
                                   const char *domain, const char *transportid);

/* Appends octets of the message, pieces of any size; here a length of 0 is no octets. False if they
 * cannot be kept. Since 6.0. */
bool HalonMTA_inject_message_append(HalonInjectContext *context, const char *data, size_t len);

/* Gives HALONMTA_MESSAGE_METADATA: a slot that the end-of-data hook sees. The out pointer is always
 * written. Since 6.0. */
bool HalonMTA_inject_getinfo(HalonInjectContext *context, int type, const void *in, size_t inlen,
                             void *out, size_t *outlen);

/* Hands the message in. True: the context is gone and the callback will run once. False: nobody is
 * called, and the context is still the plugin's, to abort. Since 6.0. */
bool HalonMTA_inject_commit(HalonInjectContext *context);

/* Forgets a message that was not committed. Nobody is called. Since 6.0. */
void HalonMTA_inject_abort(HalonInjectContext *context);

/* Gives HALONMTA_RESULT_CODE (exactly one short) or HALONMTA_RESULT_REASON (const char **, length in
 * outlen; borrowed). Thread: that of the callback. Since 6.0. */
bool HalonMTA_inject_result_getinfo(HalonInjectResultContext *context, int type, const void *in,
                                    size_t inlen, void *out, size_t *outlen);

#ifdef __cplusplus
}
#endif

#endif
