//! Injected messages.

/// Tells a plugin how its message fared, exactly once.
///
/// Dropped without [`Self::complete`], it says 451: nobody knows what became of the message.
#[derive(Debug)]
pub struct InjectDone {
    _p: (),
}

impl InjectDone {
    /// Calls the plugin back with a code like that of an SMTP reply, and its text.
    pub fn complete(self, code: u16, reason: &str) {
        let _ = (code, reason);
        todo!()
    }
}
