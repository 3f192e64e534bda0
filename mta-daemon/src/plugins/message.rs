//! A queued message as plugins see it.

use std::net::IpAddr;

use mta_types::Grouping;
use plugin_host::{MessageField, MessageInfo};
use queue::message::QueuedMessage;

use crate::outbound::plan::Target;

/// What a plugin may ask of a row, copied, because the plugin may keep it for long.
pub(crate) struct RowInfo {
    row: QueuedMessage,
    localip: Option<IpAddr>,
    remoteip: Option<IpAddr>,
    remotemx: Option<String>,
}

impl RowInfo {
    /// `localip` and `target` are those of the attempt, as far as they are known.
    pub(crate) fn new(
        row: &QueuedMessage,
        localip: Option<IpAddr>,
        target: Option<&Target>,
    ) -> Self {
        Self {
            row: row.clone(),
            localip,
            remoteip: target.map(|target| target.address.ip()),
            remotemx: target.map(|target| target.host.to_string()),
        }
    }

    /// A row on its way into the active queue: it gets `grouping` there.
    pub(crate) fn entering(
        row: &QueuedMessage,
        target: Option<&Target>,
        grouping: Option<&str>,
    ) -> Self {
        let mut info = Self::new(row, None, target);
        info.row.grouping = grouping.map(Grouping::new);
        info
    }
}

impl MessageInfo for RowInfo {
    fn text(&self, field: MessageField) -> Option<String> {
        let row = &self.row;
        match field {
            MessageField::TransactionId => Some(row.id.transaction.to_string()),
            MessageField::TransportId => Some(row.transportid.to_string()),
            MessageField::LocalIp => self.localip.map(|ip| ip.to_string()),
            MessageField::RemoteIp => self.remoteip.map(|ip| ip.to_string()),
            MessageField::RemoteMx => self.remotemx.clone(),
            MessageField::RecipientDomain => Some(row.recipient.domain().to_ascii_lowercase()),
            MessageField::JobId => row.jobid.as_ref().map(ToString::to_string),
            MessageField::Grouping => row.grouping.as_ref().map(ToString::to_string),
            MessageField::TenantId => row.tenantid.as_ref().map(ToString::to_string),
        }
    }

    fn queueid(&self) -> usize {
        self.row.id.queue.0 as usize
    }
}
