//! What the queue page is asked for: conditions, order, columns, page; from its address and back.

use control::{
    condition::{self, ConditionBuilder, ConditionError},
    pb::{
        Condition, Order, Paging, QueueListRequest,
        queue_list_request::{Sorting, sorting},
    },
};

use super::{encode_query, queue_columns};

/// Rows of a page that people can choose.
pub const PAGE_SIZES: &[u64] = &[25, 50, 100, 200];
const DEFAULT_PAGE_SIZE: u64 = 50;
/// Values of conditions in one address: more come from no form of ours.
const MAX_CONDITIONS: usize = 200;

/// A condition of the protocol as a form field.
#[derive(Debug)]
pub struct Field {
    /// The name of the condition, in addresses as on the command line.
    pub name: &'static str,
    /// What people read.
    pub label: &'static str,
    /// An example of a value.
    pub example: &'static str,
    /// Whether it is in sight without a click.
    pub is_common: bool,
}

impl Field {
    /// One sentence about the values.
    #[must_use]
    pub fn help(&self) -> &'static str {
        condition::OPTIONS.iter().find(|option| option.name == self.name).map_or("", |o| o.help)
    }
}

const fn common(name: &'static str, label: &'static str, example: &'static str) -> Field {
    Field { name, label, example, is_common: true }
}

const fn rare(name: &'static str, label: &'static str, example: &'static str) -> Field {
    Field { name, label, example, is_common: false }
}

/// The fields of the filter, besides the state, in their order.
///
/// `probability` is missing on purpose: a page and the action on it would choose different messages.
pub const FIELDS: &[Field] = &[
    common("recipient", "Recipient", "user@example.com"),
    common("recipientdomain", "Recipient domain", "example.com"),
    common("sender", "Sender", "user@example.com or <>"),
    common("senderdomain", "Sender domain", "example.com"),
    common("transportid", "Transport", "mx or /regex/"),
    rare("jobid", "Job", "newsletter-7"),
    rare("subject", "Subject", "part of it, or /regex/"),
    rare("age", "Age in seconds", ">3600 or 60..120"),
    rare("id", "Message id", "transaction:queue"),
    rare("retrycount", "Attempts", ">5"),
    rare("retrydelay", "Next attempt in seconds", "<60"),
    rare("retryreason", "Last error", "part of it, or /regex/"),
    rare("ts", "Queued", ">2026-01-31T12:00:00"),
    rare("size", "Size in bytes", ">1000000"),
    rare("priority", "Priority", "1"),
    rare("held", "Queued with hold", "true or false"),
    rare("metadata", "Metadata", "key=value"),
    rare("grouping", "Grouping", "&gmail"),
    rare("serverid", "Server", "inbound"),
    rare("stageid", "Live stage", "t1"),
    rare("senderip", "Received from", "192.0.2.0/24"),
    rare("localip", "Local address", "192.0.2.1"),
    rare("remoteip", "Remote address", "192.0.2.0/24"),
    rare("remotemx", "Remote host", "mx.example.com"),
    rare("tag", "Tag", "warm-up"),
    rare("quota", "Quota", "customer-7"),
];

/// The states of the filter: protocol name, and what people read.
pub const STATES: &[(&str, &str)] = &[
    ("ACTIVE", "Active"),
    ("DEFER", "Deferred"),
    ("SENDING", "Sending"),
    ("HOLD", "Hold"),
    ("UPDATE", "Update"),
];

/// What the list is ordered by.
#[derive(Clone, Copy, Debug)]
pub struct Sort {
    /// The name in addresses.
    pub name: &'static str,
    field: fn(i32) -> sorting::Field,
}

/// All orders; the first one is the default, newest first.
pub const SORTS: &[Sort] = &[
    Sort { name: "ts", field: sorting::Field::Ts },
    Sort { name: "retryts", field: sorting::Field::Retryts },
    Sort { name: "size", field: sorting::Field::Size },
    Sort { name: "retrycount", field: sorting::Field::Retrycount },
    Sort { name: "senderdomain", field: |order| sorting::Field::Sender(by_domain(order)) },
    Sort { name: "recipientdomain", field: |order| sorting::Field::Recipient(by_domain(order)) },
];

fn by_domain(order: i32) -> control::pb::queue_list_request::sorting::MailAddress {
    use control::pb::queue_list_request::sorting::{MailAddress, mail_address::Part};
    MailAddress { part: Some(Part::Domain(order)) }
}

/// What the page is asked for. Everything in it is known to us or bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueQuery {
    /// The host, when one is named.
    pub host: Option<String>,
    /// Names and values of conditions; names are those of [`FIELDS`], or `state`.
    pub conditions: Vec<(&'static str, String)>,
    /// The name of a [`Sort`], when it is not the default.
    pub sort: Option<&'static str>,
    /// Whether the order is smallest first.
    pub is_ascending: bool,
    /// Names of columns, when they are not the default ones.
    pub columns: Vec<&'static str>,
    /// The page, from 1; 0 is the first one too.
    pub page: u64,
    /// Rows of a page, when it is not the default.
    pub size: Option<u64>,
}

impl QueueQuery {
    /// Reads the fields of an address or a form; what is no part of a query is left out.
    #[must_use]
    pub fn read(pairs: &[(String, String)]) -> Self {
        let mut query = Self::default();
        for (name, value) in pairs {
            query.read_pair(name, value.trim());
        }
        query
    }

    fn read_pair(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        match name {
            "host" => self.host = Some(value.to_owned()),
            "sort" => self.sort = SORTS.iter().find(|sort| sort.name == value).map(|s| s.name),
            "order" => self.is_ascending = value == "asc",
            "column" => self.columns.extend(queue_columns::find(value).map(|column| column.name)),
            "page" => self.page = value.parse().unwrap_or(1),
            "size" => self.size = value.parse().ok().filter(|size| PAGE_SIZES.contains(size)),
            _ => {
                let field = FIELDS.iter().map(|field| field.name).chain(["state"]);
                let known = field.into_iter().find(|known| *known == name);
                if let Some(name) = known.filter(|_| self.conditions.len() < MAX_CONDITIONS) {
                    self.conditions.push((name, value.to_owned()));
                }
            }
        }
    }

    /// The names and values that [`Self::read`] reads.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = self.filter_pairs();
        pairs.extend(self.sort.map(|sort| ("sort", sort.to_owned())));
        if self.is_ascending {
            pairs.push(("order", "asc".into()));
        }
        pairs.extend(self.columns.iter().map(|column| ("column", (*column).to_owned())));
        pairs.extend(self.size.map(|size| ("size", size.to_string())));
        if self.page > 1 {
            pairs.push(("page", self.page.to_string()));
        }
        pairs
    }

    /// The names and values that choose messages: host and conditions.
    #[must_use]
    pub fn filter_pairs(&self) -> Vec<(&'static str, String)> {
        let host = self.host.clone().map(|host| ("host", host));
        host.into_iter().chain(self.conditions.iter().cloned()).collect()
    }

    /// The names and values that do not choose messages: order, columns, page size.
    #[must_use]
    pub fn layout_pairs(&self) -> Vec<(&'static str, String)> {
        let layout = Self { host: None, conditions: Vec::new(), page: 0, ..self.clone() };
        layout.pairs()
    }

    /// The address of the page.
    #[must_use]
    pub fn url(&self) -> String {
        let pairs = self.pairs();
        if pairs.is_empty() {
            return "/queue".into();
        }
        let query = encode_query(pairs.iter().map(|(name, value)| (*name, value.as_str())));
        format!("/queue?{query}")
    }

    /// The values of one condition.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.conditions.iter().filter(move |(n, _)| *n == name).map(|(_, value)| value.as_str())
    }

    /// Says whether every message is asked for.
    #[must_use]
    pub fn matches_all(&self) -> bool {
        self.conditions.is_empty()
    }

    /// The conditions for the daemon.
    ///
    /// # Errors
    ///
    /// The first value that cannot be read.
    pub fn condition(&self) -> Result<Condition, ConditionError> {
        let mut builder = ConditionBuilder::new();
        for (name, value) in &self.conditions {
            let is_empty_sender = *name == "sender" && matches!(value.as_str(), "<>" | "\"\"");
            builder.add(name, if is_empty_sender { "" } else { value })?;
        }
        Ok(builder.build())
    }

    /// The order in force.
    #[must_use]
    pub fn sort(&self) -> &'static Sort {
        // The table is never empty.
        SORTS.iter().find(|sort| Some(sort.name) == self.sort).unwrap_or(&SORTS[0])
    }

    /// Rows of a page.
    #[must_use]
    pub fn page_size(&self) -> u64 {
        self.size.unwrap_or(DEFAULT_PAGE_SIZE)
    }

    /// The request for the rows of this page.
    ///
    /// # Errors
    ///
    /// As with [`Self::condition`].
    pub fn request(&self) -> Result<QueueListRequest, ConditionError> {
        let order = if self.is_ascending { Order::Asc } else { Order::Desc };
        let field = (self.sort().field)(order.into());
        let limit = self.page_size();
        let offset = self.page.max(1).saturating_sub(1).saturating_mul(limit);
        Ok(QueueListRequest {
            conditions: Some(self.condition()?),
            sortings: vec![Sorting { field: Some(field) }],
            paging: Some(Paging { offset, limit }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> QueueQuery {
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        QueueQuery::read(&pairs)
    }

    #[test]
    fn every_condition_of_the_protocol_has_a_field() {
        for option in condition::OPTIONS {
            let here = option.name == "state"
                || option.name == "probability"
                || FIELDS.iter().any(|field| field.name == option.name);
            assert!(here, "{} has no field", option.name);
        }
        for field in FIELDS {
            assert!(!field.help().is_empty(), "{} is no condition", field.name);
        }
    }

    #[test]
    fn what_a_query_prints_reads_back() {
        let query = read(&[
            ("host", "mx 1"),
            ("state", "DEFER"),
            ("state", "HOLD"),
            ("age", ">3600"),
            ("sort", "size"),
            ("order", "asc"),
            ("column", "subject"),
            ("page", "3"),
            ("size", "100"),
            ("recipient", ""),
            ("unknown", "x"),
        ]);
        let pairs: Vec<_> = query.pairs().into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
        assert_eq!(QueueQuery::read(&pairs), query);
        assert_eq!(
            query.url(),
            "/queue?host=mx%201&state=DEFER&state=HOLD&age=%3E3600&sort=size&order=asc\
             &column=subject&size=100&page=3"
        );
    }

    #[test]
    fn the_request_asks_for_one_page() {
        let request = read(&[("page", "3"), ("state", "HOLD")]).request().unwrap();
        assert_eq!(request.paging, Some(Paging { offset: 100, limit: 50 }));
        assert_eq!(request.sortings[0].field, Some(sorting::Field::Ts(Order::Desc.into())));
        assert_eq!(request.conditions.unwrap().freezes.len(), 1);
        let far = read(&[("page", &u64::MAX.to_string())]).request().unwrap();
        assert_eq!(far.paging.unwrap().offset, u64::MAX);
    }

    #[test]
    fn sizes_and_orders_that_we_do_not_offer_are_ignored() {
        let query = read(&[("size", "1000000"), ("sort", "x"), ("page", "-1")]);
        assert_eq!((query.page_size(), query.sort().name, query.page), (50, "ts", 1));
    }

    #[test]
    fn the_empty_sender_can_be_asked_for() {
        let condition = read(&[("sender", "<>")]).condition().unwrap();
        let sender = &condition.senders[0];
        assert_eq!(sender.localpart.as_ref().unwrap().value, "");
        assert_eq!(sender.domain.as_ref().unwrap().value, "");
        assert!(read(&[("sender", "nobody")]).condition().is_err());
    }
}
