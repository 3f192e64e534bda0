//! Rows of the queue as records of the spool, and back after a restart.
//!
//! The tags are those of [`spool::fields::tag`]. A message record holds what all recipients share,
//! a row record what the row began with, and a state record the row as it is now: the same fields
//! as a row record plus where it stands, so that the last state alone is enough.
#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::sync::Arc;

use mta_types::{Address, QueueId, Timestamp, TransactionId};
use queue::message::{
    DsnNotify, DsnReturn, NewMessage, Placement, Priority, QueuedMessage, Transaction,
    TransactionParts,
};
use queue::state::State;
use spool::fields::{Field, FieldError, FieldReader, FieldWriter, tag};

/// What all recipients of a message share, for the spool.
pub fn encode_transaction(transaction: &Transaction) -> Box<[u8]> {
    let mut out = FieldWriter::new();
    out.integer(tag::TS, transaction.ts().as_micros());
    out.octets(tag::SERVERID, transaction.serverid().as_str().as_bytes());
    let (local, domain) = transaction.sender_parts();
    if !local.is_empty() || !domain.is_empty() {
        out.octets(tag::SENDER_LOCALPART, local.as_bytes());
        out.octets(tag::SENDER_DOMAIN, domain.as_bytes());
    }
    if let Some(ip) = transaction.senderip() {
        out.octets(tag::SENDERIP, ip.to_string().as_bytes());
    }
    out.octets(tag::SENDERHELO, transaction.senderhelo().as_bytes());
    optional(&mut out, tag::SASLUSERNAME, transaction.saslusername());
    optional(&mut out, tag::SUBJECT, transaction.subject());
    optional(&mut out, tag::DSN_ENVID, transaction.envid());
    let ret = transaction.ret().map(|ret| match ret {
        DsnReturn::Full => "FULL",
        DsnReturn::Headers => "HDRS",
    });
    optional(&mut out, tag::DSN_RET, ret);
    optional(&mut out, tag::STAGEID, transaction.stageid());
    if transaction.is_smtputf8() {
        out.integer(tag::SMTPUTF8, 1);
    }
    if transaction.is_eightbit() {
        out.integer(tag::EIGHTBIT, 1);
    }
    out.finish()
}

/// Reads what [`encode_transaction`] wrote.
///
/// # Errors
///
/// [`FieldError`] for a record that is damaged or not of this kind.
pub fn decode_transaction(
    id: TransactionId,
    record: &[u8],
    size: u64,
) -> Result<Arc<Transaction>, FieldError> {
    let mut ts = Timestamp::EPOCH;
    let (mut local, mut domain) = (String::new(), String::new());
    let (mut serverid, mut helo) = (String::new(), String::new());
    let (mut sasl, mut subject, mut envid, mut stage) = (None, None, None, None);
    let (mut ip, mut ret): (Option<IpAddr>, _) = (None, None);
    let (mut smtputf8, mut eightbit) = (false, false);
    for field in FieldReader::new(record)? {
        let field = field?;
        match field.tag {
            tag::TS => ts = Timestamp::from_micros(number(field)?),
            tag::SERVERID => serverid = text(field)?,
            tag::SENDER_LOCALPART => local = text(field)?,
            tag::SENDER_DOMAIN => domain = text(field)?,
            tag::SENDERIP => ip = text(field)?.parse().ok(),
            tag::SENDERHELO => helo = text(field)?,
            tag::SASLUSERNAME => sasl = Some(text(field)?),
            tag::SUBJECT => subject = Some(text(field)?),
            tag::DSN_ENVID => envid = Some(text(field)?),
            tag::DSN_RET => {
                ret =
                    Some(if field.value == b"HDRS" { DsnReturn::Headers } else { DsnReturn::Full });
            }
            tag::STAGEID => stage = Some(text(field)?),
            tag::SMTPUTF8 => smtputf8 = number(field)? != 0,
            tag::EIGHTBIT => eightbit = number(field)? != 0,
            _ => {}
        }
    }
    let sender = Address::new(&local, &domain).map_err(|_| FieldError)?;
    Ok(Transaction::new(TransactionParts {
        id,
        sender: &sender,
        ts,
        size,
        serverid: &serverid.into(),
        senderip: ip,
        senderhelo: &helo,
        saslusername: sasl.as_deref(),
        subject: subject.as_deref(),
        envid: envid.as_deref(),
        ret,
        stageid: stage.as_deref(),
        hqfpath: None,
        smtputf8,
        eightbit,
    }))
}

/// A new row, for the spool.
pub fn encode_row(row: &NewMessage) -> Box<[u8]> {
    let mut out = FieldWriter::new();
    facts(
        &mut out,
        &Facts {
            recipient: &row.recipient,
            sender: row.sender.as_ref(),
            transportid: row.transportid.as_str(),
            jobid: row.jobid.as_ref().map(AsRef::as_ref),
            tenantid: row.tenantid.as_ref().map(AsRef::as_ref),
            priority: row.priority,
            notify: row.notify,
            orcpt: row.orcpt.as_deref(),
        },
    );
    row.metadata.iter().for_each(|pair| entry(&mut out, pair));
    for t in &row.tags {
        out.octets(tag::TAG, t.as_str().as_bytes());
    }
    for quota in &row.quotas {
        out.octets(tag::QUOTA, quota.as_bytes());
    }
    place(&mut out, row.placement, row.retrycount, row.retryreason.as_deref());
    out.finish()
}

/// A row as it stands, for the spool: replaces everything known of it.
pub fn encode_state(row: &QueuedMessage) -> Box<[u8]> {
    let mut out = FieldWriter::new();
    let sender = (row.sender != row.transaction.sender()).then_some(&row.sender);
    facts(
        &mut out,
        &Facts {
            recipient: &row.recipient,
            sender,
            transportid: row.transportid.as_str(),
            jobid: row.jobid.as_ref().map(AsRef::as_ref),
            tenantid: row.tenantid.as_ref().map(AsRef::as_ref),
            priority: row.priority,
            notify: row.notify,
            orcpt: row.orcpt.as_deref(),
        },
    );
    row.metadata.iter().for_each(|pair| entry(&mut out, pair));
    for t in &row.tags {
        out.octets(tag::TAG, t.as_str().as_bytes());
    }
    for quota in &row.quotas {
        out.octets(tag::QUOTA, quota.as_bytes());
    }
    let placement = match row.state {
        State::Hold => Placement::Hold,
        State::Update | State::UnknownFreezing | State::SendingFreezing => {
            Placement::Update(row.retryts)
        }
        State::Active | State::Defer | State::Unknown | State::Sending => {
            Placement::At(row.retryts)
        }
    };
    place(&mut out, placement, row.retrycount, row.retryreason.as_deref());
    out.finish()
}

/// Reads a row: its last state when there is one, else what it began with.
///
/// # Errors
///
/// As [`decode_transaction`].
pub fn decode_row(
    transaction: &Arc<Transaction>,
    queue: QueueId,
    row: &[u8],
    state: &[u8],
) -> Result<NewMessage, FieldError> {
    let record = if state.is_empty() { row } else { state };
    let (mut local, mut domain) = (String::new(), String::new());
    let (mut sender_local, mut sender_domain) = (None, String::new());
    let mut metadata = Vec::new();
    let (mut standing, mut due) = (STANDS_DUE, Timestamp::EPOCH);
    let mut out =
        NewMessage::new(Arc::clone(transaction), queue, Address::null(), String::new().into());
    for field in FieldReader::new(record)? {
        let field = field?;
        match field.tag {
            tag::RECIPIENT_LOCALPART => local = text(field)?,
            tag::RECIPIENT_DOMAIN => domain = text(field)?,
            tag::SENDER_LOCALPART => sender_local = Some(text(field)?),
            tag::SENDER_DOMAIN => sender_domain = text(field)?,
            tag::TRANSPORTID => out.transportid = text(field)?.into(),
            tag::JOBID => out.jobid = Some(text(field)?.into()),
            tag::TENANT => out.tenantid = Some(text(field)?.into()),
            tag::PRIORITY => out.priority = Priority::from_number(number(field)?),
            tag::DSN_NOTIFY => out.notify = DsnNotify::from_bits((number(field)? & 0xff) as u8),
            tag::DSN_ORCPT => out.orcpt = Some(text(field)?.into()),
            tag::METADATA => metadata.push(decode_entry(field.value)?),
            tag::TAG => out.tags.push(text(field)?.into()),
            tag::QUOTA => out.quotas.push(text(field)?.into()),
            tag::STATE => standing = number(field)?,
            tag::RETRY => out.retrycount = u32::try_from(number(field)?).unwrap_or(u32::MAX),
            tag::RETRYTS => due = Timestamp::from_micros(number(field)?),
            tag::RETRYREASON => out.retryreason = Some(text(field)?.into()),
            _ => {}
        }
    }
    out.recipient = Address::new(&local, &domain).map_err(|_| FieldError)?;
    if let Some(local) = sender_local {
        out.sender = Some(Address::new(&local, &sender_domain).map_err(|_| FieldError)?);
    }
    out.metadata = metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    out.placement = match standing {
        STANDS_HELD => Placement::Hold,
        STANDS_FROZEN => Placement::Update(due),
        _ if due == Timestamp::EPOCH => Placement::Now,
        _ => Placement::At(due),
    };
    Ok(out)
}

struct Facts<'a> {
    recipient: &'a Address,
    sender: Option<&'a Address>,
    transportid: &'a str,
    jobid: Option<&'a str>,
    tenantid: Option<&'a str>,
    priority: Priority,
    notify: DsnNotify,
    orcpt: Option<&'a str>,
}

fn facts(out: &mut FieldWriter, facts: &Facts<'_>) {
    out.octets(tag::RECIPIENT_LOCALPART, facts.recipient.local().as_bytes());
    out.octets(tag::RECIPIENT_DOMAIN, facts.recipient.domain().as_bytes());
    if let Some(sender) = facts.sender {
        out.octets(tag::SENDER_LOCALPART, sender.local().as_bytes());
        out.octets(tag::SENDER_DOMAIN, sender.domain().as_bytes());
    }
    out.octets(tag::TRANSPORTID, facts.transportid.as_bytes());
    optional(out, tag::JOBID, facts.jobid);
    optional(out, tag::TENANT, facts.tenantid);
    if facts.priority != Priority::Normal {
        out.integer(tag::PRIORITY, facts.priority.number().into());
    }
    if facts.notify != DsnNotify::UNSET {
        out.integer(tag::DSN_NOTIFY, facts.notify.bits().into());
    }
    optional(out, tag::DSN_ORCPT, facts.orcpt);
}

fn place(out: &mut FieldWriter, placement: Placement, retrycount: u32, reason: Option<&str>) {
    let (standing, due) = match placement {
        Placement::Now => (STANDS_DUE, Timestamp::EPOCH),
        Placement::At(due) => (STANDS_DUE, due),
        Placement::Hold => (STANDS_HELD, Timestamp::EPOCH),
        Placement::Update(due) => (STANDS_FROZEN, due),
    };
    if standing != STANDS_DUE {
        out.integer(tag::STATE, standing);
    }
    if due != Timestamp::EPOCH {
        out.integer(tag::RETRYTS, due.as_micros());
    }
    if retrycount > 0 {
        out.integer(tag::RETRY, retrycount.into());
    }
    optional(out, tag::RETRYREASON, reason);
}

fn optional(out: &mut FieldWriter, tag: u32, value: Option<&str>) {
    if let Some(value) = value {
        out.octets(tag, value.as_bytes());
    }
}

fn entry(out: &mut FieldWriter, (key, value): (&str, &str)) {
    let mut nested = FieldWriter::new();
    nested.octets(tag::ENTRY_KEY, key.as_bytes()).octets(tag::ENTRY_VALUE, value.as_bytes());
    out.octets(tag::METADATA, &nested.finish());
}

fn decode_entry(record: &[u8]) -> Result<(String, String), FieldError> {
    let (mut key, mut value) = (String::new(), String::new());
    for field in FieldReader::new(record)? {
        let field = field?;
        match field.tag {
            tag::ENTRY_KEY => key = text(field)?,
            tag::ENTRY_VALUE => value = text(field)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn text(field: Field<'_>) -> Result<String, FieldError> {
    std::str::from_utf8(field.value).map(str::to_owned).map_err(|_| FieldError)
}

fn number(field: Field<'_>) -> Result<u64, FieldError> {
    field.integer().ok_or(FieldError)
}

/// Values of the field `STATE`.
const STANDS_DUE: u64 = 1;
const STANDS_HELD: u64 = 2;
const STANDS_FROZEN: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction() -> Arc<Transaction> {
        Transaction::new(TransactionParts {
            id: TransactionId([7; 16]),
            sender: &Address::parse("from@example.org").unwrap(),
            ts: Timestamp::from_secs(1_700_000_000),
            size: 1234,
            serverid: &"default".into(),
            senderip: Some("192.0.2.1".parse().unwrap()),
            senderhelo: "client.example",
            saslusername: Some("user"),
            subject: None,
            envid: Some("env"),
            ret: Some(DsnReturn::Headers),
            stageid: None,
            hqfpath: None,
            smtputf8: true,
            eightbit: true,
        })
    }

    #[test]
    fn a_transaction_comes_back_as_it_was() {
        let before = transaction();
        let after = decode_transaction(before.id(), &encode_transaction(&before), 1234).unwrap();
        assert_eq!(format!("{after:?}"), format!("{before:?}"));
    }

    #[test]
    fn a_row_comes_back_where_it_stood() {
        let transaction = transaction();
        for placement in [
            Placement::Now,
            Placement::At(Timestamp::from_secs(1_800_000_000)),
            Placement::Hold,
            Placement::Update(Timestamp::from_secs(1_800_000_001)),
        ] {
            let recipient = Address::parse("\"a b\"@example.net").unwrap();
            let mut row =
                NewMessage::new(Arc::clone(&transaction), QueueId(3), recipient, "mx".into());
            row.sender = Some(Address::null());
            row.jobid = Some("job".into());
            row.metadata = [("k", "v"), ("k2", "")].into_iter().collect();
            row.quotas = vec!["q".into()];
            row.notify = DsnNotify::FAILURE.union(DsnNotify::DELAY);
            row.retrycount = 4;
            row.retryreason = Some("later".into());
            row.placement = placement;
            let back = decode_row(&transaction, QueueId(3), &encode_row(&row), &[]).unwrap();
            assert_eq!(format!("{back:?}"), format!("{row:?}"));
        }
    }

    #[test]
    fn damaged_records_are_refused_and_unknown_fields_skipped() {
        assert!(decode_transaction(TransactionId::NIL, b"\xff\xff", 0).is_err());
        let mut record = encode_transaction(&transaction()).into_vec();
        record.extend_from_slice(&[0xf0, 0x7f, 1, b'x']);
        assert!(decode_transaction(TransactionId::NIL, &record, 0).is_ok());
        record.push(0x80);
        assert!(decode_transaction(TransactionId::NIL, &record, 0).is_err());
    }
}
