//! The JSON mapping: names as in the schema, texts for 64-bit numbers, empty fields printed.

use control::{
    Message as _,
    command::{TABLE, call},
    json::{self, JsonError},
    pb::{
        self,
        queue_list_response::{QueueItem, queue_item},
    },
};
use serde_json::json;

fn item() -> QueueItem {
    let address = |localpart: &str, domain: &str| queue_item::MailAddress {
        localpart: localpart.to_owned(),
        domain: domain.to_owned(),
    };
    QueueItem {
        id: Some(pb::QueueItemId { transaction: "b186d406".to_owned(), queue: 1 }),
        state: Some(queue_item::State::Queue(pb::Queue::Defer.into())),
        ts: 1_577_840_523.5,
        metadata: [("b", "2"), ("a", "1"), ("c", "3")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        sender: Some(address("", "")),
        recipient: Some(address("user", "example.com")),
        retrycount: 3,
        size: u64::MAX,
        ..QueueItem::default()
    }
}

#[test]
fn a_list_prints_as_the_reference_does() {
    let list = pb::QueueListResponse { items: vec![item()], paging: None };
    let text = serde_json::to_string_pretty(&json::print(&list).unwrap()).unwrap();
    assert_eq!(text, include_str!("golden/queue_list.json").trim_end());
}

#[test]
fn what_is_printed_can_be_read() {
    let list = pb::QueueListResponse { items: vec![item(), QueueItem::default()], paging: None };
    let value = json::print(&list).unwrap();
    assert_eq!(json::read::<pb::QueueListResponse>(&value).unwrap(), list);
}

#[test]
fn the_empty_form_of_every_message_can_be_read_back() {
    for command in TABLE {
        for message in [json::request_of(command), json::response_of(command)].into_iter().flatten()
        {
            let printed = json::to_json(&message, &[]).unwrap();
            assert_eq!(json::from_json(&message, &printed).unwrap(), b"", "{}", message.name());
        }
    }
}

#[test]
fn numbers_are_read_as_texts_or_numbers_and_enums_by_name_or_number() {
    for paging in [json!({"limit": "5"}), json!({"limit": 5})] {
        for queue in [json!("DEFER"), json!(1)] {
            let payload = json!({"conditions": {"queues": [{"queue": queue}]}, "paging": paging});
            let request: pb::QueueListRequest = json::read(&payload).unwrap();
            assert_eq!(request.paging.unwrap().limit, 5);
            assert_eq!(request.conditions.unwrap().queues[0].queue(), pb::Queue::Defer);
        }
    }
}

#[test]
fn octets_are_base64() {
    let request = pb::PluginCommandRequest { id: "p".to_owned(), arguments: vec![vec![0, 255]] };
    assert_eq!(json::print(&request).unwrap(), json!({"id": "p", "arguments": ["AP8="]}));
}

#[test]
fn unknown_members_are_refused_by_name() {
    let error = json::request_from_json(&call::QUEUE_LIST, Some(&json!({"condition": {}})));
    let Err(JsonError::Read { message, source }) = error else { panic!("{error:?}") };
    assert_eq!(message, "QueueListRequest");
    assert!(source.to_string().contains("condition"), "{source}");
}

#[test]
fn commands_without_a_request_take_no_payload_but_an_empty_one() {
    for payload in [None, Some(json!(null)), Some(json!({}))] {
        let body = json::request_from_json(&call::CONFIG_RELOAD, payload.as_ref()).unwrap();
        assert!(body.is_empty());
    }
    let error = json::request_from_json(&call::CONFIG_RELOAD, Some(&json!({"a": 1})));
    assert!(matches!(error, Err(JsonError::NoMessage { command: "config_reload" })), "{error:?}");
    assert_eq!(json::response_to_json(&call::CONFIG_RELOAD, b"").unwrap(), json!({}));
}

#[test]
fn octets_that_are_no_message_are_an_error() {
    let error = json::response_to_json(&call::QUEUE_LIST, b"\xff");
    assert!(matches!(error, Err(JsonError::Decode { .. })), "{error:?}");
}

#[test]
fn rows_are_those_of_the_whole_list() {
    let list = pb::QueueListResponse {
        items: vec![item(), QueueItem::default()],
        paging: Some(pb::PagingTotal { total: 2 }),
    };
    let octets = list.encode_to_vec();
    let rows: Vec<_> =
        json::rows(&call::QUEUE_LIST, &octets).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(json!(rows), json::print(&list).unwrap()["items"]);
    for command in [&*call::QUEUE_UPDATE, &*call::MEMORY_LIST, &*call::CONFIG_RELOAD] {
        assert!(json::rows(command, &octets).is_none(), "{}", command.name);
    }
}

#[test]
fn rows_of_a_cut_list_end_with_an_error() {
    let list = pb::QueueListResponse { items: vec![item(), item()], paging: None };
    let octets = list.encode_to_vec();
    for end in [octets.len() - 1, octets.len() / 2 + 1] {
        let rows: Vec<_> = json::rows(&call::QUEUE_LIST, &octets[..end]).unwrap().collect();
        assert_eq!(rows.len(), 2, "{end}");
        assert!(matches!(rows[1], Err(JsonError::Decode { .. })), "{end}");
    }
}
