//! Opaque handles. Plugins never look inside; neither side may rely on their size.

use std::cell::UnsafeCell;
use std::marker::{PhantomData, PhantomPinned};

macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident)*) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            pub struct $name {
                _octets: [u8; 0],
                _marker: PhantomData<(UnsafeCell<u8>, *mut u8, PhantomPinned)>,
            }
        )*

        /// The names of all opaque types.
        pub const OPAQUE_TYPES: &[&str] = &[$(stringify!($name)),*];
    };
}

opaque! {
    /// The argument of the init calls; valid during the call.
    HalonInitContext
    /// The argument of `Halon_ready`; valid during the call.
    HalonReadyContext
    /// A node of configuration; valid as long as the process lives.
    HalonConfig
    /// The argument of a command; valid during the call.
    HalonCommandExecuteContext
    /// The argument of `Halon_hsl_register`; valid during the call.
    HalonHSLRegisterContext
    /// One call of a script; valid until the function returned, or until it was scheduled.
    HalonHSLContext
    /// The arguments of a call; valid as long as the call.
    HalonHSLArguments
    /// A value; valid as long as what it belongs to.
    HalonHSLValue
    /// An object under construction; valid until `HalonMTA_hsl_object_delete`.
    HalonHSLObject
    /// One delivery attempt; valid until `HalonMTA_deliver_done`.
    HalonDeliverContext
    /// One decision of the queue; valid during the callback.
    HalonQueueContext
    /// A queued message; valid as long as the context it came from.
    HalonQueueMessage
    /// A message being injected; valid until commit succeeded, or abort.
    HalonInjectContext
    /// The result of an injection; valid during the callback.
    HalonInjectResultContext
}
