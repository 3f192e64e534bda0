//! Every `HALONMTA_*` number, under its name in the header. Frozen: never change one, append.

use std::ffi::c_int;

macro_rules! constants {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        $($(#[$doc])* pub const $name: c_int = $value;)*

        /// All constants with their names, in the order of the header.
        pub const ALL: &[(&str, c_int)] = &[$((stringify!($name), $name)),*];
    };
}

constants! {
    /// What `Halon_version` returns: 5.6, first layout.
    HALONMTA_PLUGIN_VERSION = 56001;

    /// `none`.
    HALONMTA_HSL_TYPE_NONE = 0;
    /// `boolean`, a C `bool`.
    HALONMTA_HSL_TYPE_BOOLEAN = 1;
    /// `number`, a C `double`.
    HALONMTA_HSL_TYPE_NUMBER = 2;
    /// `string`, octets with a length.
    HALONMTA_HSL_TYPE_STRING = 3;
    /// `array`, pairs of keys and values.
    HALONMTA_HSL_TYPE_ARRAY = 4;
    /// An exception, only for the slot of `HalonMTA_hsl_throw`.
    HALONMTA_HSL_TYPE_EXCEPTION = 5;
    /// An object made by the plugin, or another object of the script.
    HALONMTA_HSL_TYPE_OBJECT = 6;
    /// The object whose method is running.
    HALONMTA_HSL_TYPE_THIS = 7;
    /// A file, a C `FILE *`.
    HALONMTA_HSL_TYPE_FILE = 8;
    /// A certificate, an OpenSSL `X509 *`.
    HALONMTA_HSL_TYPE_X509 = 9;
    /// A private key, an OpenSSL `EVP_PKEY *`.
    HALONMTA_HSL_TYPE_PRIVATEKEY = 10;

    /// `HalonMTA_hsl_value_to_json2`: characters beyond ASCII as they are.
    HALONMTA_JSON_ENCODE_NO_ENSURE_ASCII = 1;
    /// `HalonMTA_hsl_value_from_json2`: `\u00XX` is one octet.
    HALONMTA_JSON_DECODE_UNICODE_BYTE = 2;

    /// `HalonMTA_init_getinfo`: the startup configuration.
    HALONMTA_INIT_CONFIG = 1;
    /// `HalonMTA_init_getinfo`: the running configuration.
    HALONMTA_INIT_APPCONFIG = 2;

    /// The message as a file.
    HALONMTA_INFO_FILE = 1;
    /// The message.
    HALONMTA_INFO_MESSAGE = 2;
    /// The arguments given by the script.
    HALONMTA_INFO_ARGUMENTS = 3;
    /// The slot for a return value.
    HALONMTA_INFO_RETURN = 4;
    /// The candidate source addresses.
    HALONMTA_INFO_LOCALIPS = 5;

    /// A code like that of an SMTP reply, a C `short`.
    HALONMTA_RESULT_CODE = 16;
    /// The text of a result.
    HALONMTA_RESULT_REASON = 17;
    /// The text of a local error.
    HALONMTA_ERROR_REASON = 18;

    /// The transaction.
    HALONMTA_MESSAGE_TRANSACTIONID = 1;
    /// The number within the transaction, a `size_t`.
    HALONMTA_MESSAGE_QUEUEID = 2;
    /// The transport.
    HALONMTA_MESSAGE_TRANSPORTID = 3;
    /// The source address.
    HALONMTA_MESSAGE_LOCALIP = 4;
    /// The destination address.
    HALONMTA_MESSAGE_REMOTEIP = 5;
    /// The destination host name.
    HALONMTA_MESSAGE_REMOTEMX = 6;
    /// The domain of the recipient.
    HALONMTA_MESSAGE_RECIPIENTDOMAIN = 7;
    /// The job.
    HALONMTA_MESSAGE_JOBID = 8;
    /// The grouping of destinations.
    HALONMTA_MESSAGE_GROUPING = 9;
    /// The tenant.
    HALONMTA_MESSAGE_TENANTID = 10;
    /// A value for the end-of-data hook of an injected message.
    HALONMTA_MESSAGE_METADATA = 11;

    /// Field bit: the transport.
    HALONMTA_QUEUE_TRANSPORTID = 1;
    /// Field bit: the source address.
    HALONMTA_QUEUE_LOCALIP = 2;
    /// Field bit: the destination address.
    HALONMTA_QUEUE_REMOTEIP = 4;
    /// Field bit: the destination host name.
    HALONMTA_QUEUE_REMOTEMX = 8;
    /// Field bit: the domain of the recipient.
    HALONMTA_QUEUE_RECIPIENTDOMAIN = 16;
    /// Field bit: the job.
    HALONMTA_QUEUE_JOBID = 32;
    /// Field bit: the grouping of destinations.
    HALONMTA_QUEUE_GROUPING = 64;
    /// Field bit: the tenant.
    HALONMTA_QUEUE_TENANTID = 128;

    /// A policy for any purpose.
    HALONMTA_POLICY_TYPE_DYNAMIC = 0;
    /// A policy that warms up an address.
    HALONMTA_POLICY_TYPE_WARMUP = 1;
    /// A policy that backs off.
    HALONMTA_POLICY_TYPE_BACKOFF = 2;

    /// Tokens are counted as the configuration says.
    HALONMTA_RATE_ALGORITHM_DEFAULT = 0;
    /// Tokens are counted in windows.
    HALONMTA_RATE_ALGORITHM_FIXEDWINDOW = 1;
    /// Tokens fill a bucket.
    HALONMTA_RATE_ALGORITHM_TOKENBUCKET = 2;
}
