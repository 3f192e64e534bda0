//! Queued messages as C sees them.

use std::ffi::{c_char, c_int};
use std::sync::{Arc, OnceLock};

use plugin_abi::HalonQueueMessage;
use plugin_abi::constants::*;

use crate::services::{MessageField, MessageInfo};
use crate::text::CText;

/// What a `HalonQueueMessage *` points to. Text is fetched when C asks for it, and kept.
#[repr(C)]
pub(crate) struct Message {
    tag: u64,
    info: Arc<dyn MessageInfo>,
    texts: [OnceLock<CText>; FIELDS.len()],
}

/// What a selector selects.
pub(crate) enum Selected<'a> {
    Text(*const c_char, usize, std::marker::PhantomData<&'a CText>),
    QueueId(usize),
}

impl Message {
    pub(crate) fn new(info: Arc<dyn MessageInfo>) -> Self {
        Self { tag: TAG, info, texts: Default::default() }
    }

    pub(crate) fn as_ptr(&self) -> *mut HalonQueueMessage {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// Finds the message that C means; `None` for NULL.
    ///
    /// # Safety
    ///
    /// `message` is NULL or belongs to a context that lives through `'a`.
    pub(crate) unsafe fn from_raw<'a>(message: *const HalonQueueMessage) -> Option<&'a Self> {
        let message = message.cast::<Self>();
        if message.is_null() || !message.is_aligned() {
            return None;
        }
        // SAFETY: the caller keeps the contract.
        let message = unsafe { &*message };
        (message.tag == TAG).then_some(message)
    }

    pub(crate) fn info(&self) -> &Arc<dyn MessageInfo> {
        &self.info
    }

    /// What `HALONMTA_MESSAGE_*` selects; `None` for a selector that is not of messages.
    pub(crate) fn select(&self, selector: c_int) -> Option<Selected<'_>> {
        if selector == HALONMTA_MESSAGE_QUEUEID {
            return Some(Selected::QueueId(self.info.queueid()));
        }
        let (at, (_, field)) =
            FIELDS.iter().enumerate().find(|(_, (known, _))| *known == selector)?;
        let text = self
            .texts
            .get(at)?
            .get_or_init(|| CText::new(self.info.text(*field).unwrap_or_default().as_bytes()));
        Some(Selected::Text(text.as_ptr(), text.octets().len(), std::marker::PhantomData))
    }
}

/// Selectors of text with their fields.
const FIELDS: [(c_int, MessageField); 9] = [
    (HALONMTA_MESSAGE_TRANSACTIONID, MessageField::TransactionId),
    (HALONMTA_MESSAGE_TRANSPORTID, MessageField::TransportId),
    (HALONMTA_MESSAGE_LOCALIP, MessageField::LocalIp),
    (HALONMTA_MESSAGE_REMOTEIP, MessageField::RemoteIp),
    (HALONMTA_MESSAGE_REMOTEMX, MessageField::RemoteMx),
    (HALONMTA_MESSAGE_RECIPIENTDOMAIN, MessageField::RecipientDomain),
    (HALONMTA_MESSAGE_JOBID, MessageField::JobId),
    (HALONMTA_MESSAGE_GROUPING, MessageField::Grouping),
    (HALONMTA_MESSAGE_TENANTID, MessageField::TenantId),
];

/// Marks a message.
const TAG: u64 = 0x4d54_416d_6573_7361;
