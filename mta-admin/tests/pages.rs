//! The pages before a daemon that answers what a test says.

mod fake;

use axum::http::{StatusCode, header};
use control::{
    command::call,
    pb::{
        self,
        queue_list_response::QueueItem,
        queue_update_request::{Task, r#move::Destination},
    },
};
use fake::{Browser, FakeDaemon, messages};

const FIRST: &str = "b186d406-0c36-11ea-8dda-000000000001:1";
const SECOND: &str = "b186d406-0c36-11ea-8dda-000000000002:1";

#[tokio::test]
async fn the_queue_shows_messages_and_their_number() {
    let daemon = FakeDaemon::holding(messages(137));
    let mut browser = Browser::of(&daemon);
    browser.log_in().await;
    let page = browser.get("/queue?page=2").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("<strong>137 messages</strong>, showing 51 to 100"));
    assert!(page.text.contains("user51@example.com"));
    assert!(!page.text.contains("user50@"));
    assert!(page.text.contains("Page 2 of 3"));
    let request = daemon.request(call::QUEUE_LIST);
    assert_eq!(request.paging, Some(pb::Paging { offset: 50, limit: 50 }));
}

#[tokio::test]
async fn conditions_reach_the_daemon_and_stay_in_the_form() {
    let daemon = FakeDaemon::holding(messages(3));
    let mut browser = Browser::of(&daemon);
    browser.log_in().await;
    let page =
        browser.get("/queue?state=DEFER&recipientdomain=example.com&age=%3E3600&column=size").await;
    assert!(page.text.contains(r#"value="DEFER" checked"#));
    assert!(page.text.contains(r#"name="recipientdomain" value="example.com""#));
    assert!(page.text.contains(r#"name="age" value="&#62;3600""#));
    assert!(page.text.contains(r#"value="size" checked"#));
    let condition = daemon.request(call::QUEUE_LIST).conditions.unwrap();
    assert_eq!(condition.queues[0].queue, i32::from(pb::Queue::Defer));
    assert_eq!(condition.recipients.len(), 1);
    assert_eq!(condition.tss.len(), 1);
}

#[tokio::test]
async fn a_condition_that_cannot_be_read_is_told_beside_the_form() {
    let daemon = FakeDaemon::holding(messages(3));
    let mut browser = Browser::of(&daemon);
    browser.log_in().await;
    let page = browser.get("/queue?age=%3Cb%3Eyesterday").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.text.contains("&#60;b&#62;yesterday") && !page.text.contains("<b>"));
    assert_eq!(daemon.letters(), "", "the daemon is not asked");
}

#[tokio::test]
async fn an_action_asks_with_the_count_and_acts_once_confirmed() {
    let daemon = FakeDaemon::holding(messages(5));
    let mut browser = Browser::of(&daemon);
    browser.log_in().await;
    let csrf = browser.get("/queue").await.csrf();
    let fields = [
        ("csrf", csrf.as_str()),
        ("scope", "selected"),
        ("selected", FIRST),
        ("selected", SECOND),
        ("action", "delete"),
    ];
    let question = browser.post("/queue/confirm", &fields).await;
    assert!(question.text.contains("<h1>Delete 2 messages?</h1>"), "{}", question.text);
    assert!(!daemon.letters().contains('G'), "nothing is done before the answer");
    let fields = hidden_fields(&question.text);
    let fields: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let done = browser.post("/queue/update", &fields).await;
    assert_eq!((done.status, done.location()), (StatusCode::SEE_OTHER, "/queue"));
    let request = daemon.request(call::QUEUE_UPDATE);
    assert_eq!(request.task, Some(Task::Actiontype(pb::ActionType::Delete.into())));
    assert_eq!(request.conditions.unwrap().ids.len(), 2);
    assert!(browser.get("/queue").await.text.contains("2 messages deleted."));
    assert!(!browser.get("/queue").await.text.contains("2 messages deleted."), "told once");
}

#[tokio::test]
async fn everything_that_matches_is_bound_to_what_was_asked() {
    let daemon = FakeDaemon::holding(messages(8));
    let mut browser = Browser::of(&daemon);
    browser.log_in().await;
    let csrf = browser.get("/queue").await.csrf();
    let fields =
        [("csrf", csrf.as_str()), ("scope", "all"), ("state", "DEFER"), ("action", "hold")];
    let question = browser.post("/queue/confirm", &fields).await;
    assert!(question.text.contains("<h1>Hold 2 messages?</h1>"));
    let mut fields = hidden_fields(&question.text);
    fields.push(("waits".into(), "1".into()));
    let fields: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let done = browser.post("/queue/update", &fields).await;
    assert_eq!(done.location(), "/queue?state=DEFER");
    let request = daemon.request(call::QUEUE_UPDATE);
    let Some(Task::Move(to)) = request.task else { panic!("{request:?}") };
    assert_eq!(to.destination, Some(Destination::Freeze(pb::Freeze::Hold.into())));
    assert_eq!(request.paging, Some(pb::Limit { limit: 2 }));
    assert!(request.freeze);
    let condition = request.conditions.unwrap();
    assert_eq!((condition.queues.len(), condition.tss.len()), (1, 1));
}

#[tokio::test]
async fn no_selection_is_an_error_and_never_everything() {
    let daemon = FakeDaemon::holding(messages(5));
    let mut browser = Browser::of(&daemon);
    browser.log_in().await;
    let csrf = browser.get("/queue").await.csrf();
    let fields = [("csrf", csrf.as_str()), ("action", "delete"), ("scope", "selected")];
    let page = browser.post("/queue/confirm", &fields).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.text.contains("No message is selected"));
    let fields = [
        ("csrf", csrf.as_str()),
        ("action", "delete"),
        ("count", "5"),
        ("asked", "1.0"),
        ("state", "DEFER"),
    ];
    let page = browser.post("/queue/update", &fields).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    let fields = [("csrf", csrf.as_str()), ("action", "delete"), ("scope", "all"), ("count", "0")];
    let page = browser.post("/queue/update", &fields).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(!daemon.letters().contains('G'));
}

#[tokio::test]
async fn a_bounce_reports_what_somebody_wrote() {
    let daemon = FakeDaemon::holding(messages(1));
    let mut browser = Browser::of(&daemon);
    browser.log_in().await;
    let csrf = browser.get("/queue").await.csrf();
    let row = format!("bounce/{FIRST}");
    let question = browser.post("/queue/confirm", &[("csrf", &csrf), ("row", &row)]).await;
    assert!(question.text.contains("<h1>Bounce 1 message?</h1>"));
    let hidden = hidden_fields(&question.text);
    let with = |status: &'static str, text: &'static str| {
        let mut fields: Vec<_> = hidden.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        fields.extend([("status", status), ("text", text)]);
        fields
    };
    assert_eq!(
        browser.post("/queue/update", &with("4.7.1", "")).await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        browser.post("/queue/update", &with("", "a\r\nBcc: b")).await.status,
        StatusCode::BAD_REQUEST
    );
    browser.post("/queue/update", &with("5.7.1", "No thanks")).await;
    let Some(Task::Action(end)) = daemon.request(call::QUEUE_UPDATE).task else { panic!() };
    let dsn = end.dsn.unwrap();
    assert_eq!((dsn.status.unwrap().subject, dsn.diagnosticcode.as_str()), (7, "No thanks"));
}

#[tokio::test]
async fn what_strangers_wrote_stays_text() {
    let evil = "<script>alert(1)</script>\"'><img src=x>";
    let hostile = QueueItem {
        id: Some(pb::QueueItemId { transaction: evil.into(), queue: 1 }),
        subject: evil.into(),
        sender: Some(fake::address(evil, evil)),
        recipient: Some(fake::address(evil, evil)),
        retryreason: evil.into(),
        senderhelo: evil.into(),
        transportid: evil.into(),
        jobid: evil.into(),
        tags: vec![evil.into()],
        metadata: [(evil.to_owned(), evil.to_owned())].into(),
        ts: f64::NAN,
        retrydelay: f64::INFINITY,
        ..QueueItem::default()
    };
    let daemon = FakeDaemon::with(move |request| {
        let mut out = Vec::new();
        assert_eq!(request.command.letter, call::QUEUE_LIST.letter);
        let paging = Some(pb::PagingTotal { total: 1 });
        let answer = pb::QueueListResponse { items: vec![hostile.clone()], paging };
        control::frame::encode_success(&answer, &mut out);
        out
    });
    let mut browser = Browser::of(&daemon);
    browser.log_in().await;
    let every_column: String = mta_admin::pages::queue_columns::COLUMNS
        .iter()
        .map(|column| format!("column={}&", column.name))
        .collect();
    let list = browser.get(&format!("/queue?{every_column}subject=%3Cscript%3E%22")).await;
    let message = browser.get("/queue/message?id=x:1").await;
    let fields = [("csrf", &*list.csrf()), ("action", "delete"), ("scope", "all")];
    let question = browser.post("/queue/confirm", &fields).await;
    for page in [list, message, question] {
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        assert!(page.text.contains("&#60;script&#62;alert(1)"));
        assert!(!page.text.contains("<script>") && !page.text.contains("<img src=x"));
        assert!(!page.text.contains("\"'>"));
    }
}

#[tokio::test]
async fn a_message_that_is_gone_is_told() {
    let daemon = FakeDaemon::holding(messages(1));
    let mut browser = Browser::of(&daemon);
    browser.log_in().await;
    let page = browser.get(&format!("/queue/message?id={FIRST}")).await;
    assert!(page.text.contains("app1.shop.example.com") && page.text.contains("customer"));
    let page = browser.get("/queue/message?id=gone:1").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.text.contains("not in the queue"));
    assert_eq!(browser.get("/queue/message?id=nonsense").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn statistics_renew_with_and_without_script() {
    let daemon = FakeDaemon::holding(Vec::new());
    let mut browser = Browser::of(&daemon);
    browser.log_in().await;
    let page = browser.get("/stats").await;
    assert!(page.text.contains(r#"<noscript><meta http-equiv="refresh""#));
    assert!(page.text.contains("1,204") && page.text.contains("1,234,567"));
    assert!(page.text.contains("queue.connections") && page.text.contains("pooling.hits"));
    let fragment = browser.get("/stats?fragment=1").await;
    assert!(fragment.text.contains("1,204") && !fragment.text.contains("<html"));
    assert!(page.text.contains(fragment.text.trim()));
}

#[tokio::test]
async fn a_daemon_that_cannot_be_reached_is_a_page_with_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none.ctl");
    let mut browser = Browser::with(&fake::settings(missing.to_str().unwrap()));
    browser.log_in().await;
    let page = browser.get("/queue").await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY);
    assert!(page.text.contains("There is no control socket at"));
    assert!(page.text.contains("systemctl status halon"));
    assert!(page.text.contains("Log out"), "the page has its frame");
}

#[tokio::test]
async fn a_daemon_that_refuses_or_is_silent_is_told() {
    let daemon = FakeDaemon::failing("the <queue> is loading");
    let mut browser = Browser::of(&daemon);
    browser.log_in().await;
    let page = browser.get("/queue").await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY);
    assert!(page.text.contains("The &#60;queue&#62; is loading."));
    let daemon = FakeDaemon::with(|_| Vec::new());
    let mut browser = Browser::of(&daemon);
    browser.log_in().await;
    let page = browser.get("/stats").await;
    assert_eq!(page.status, StatusCode::GATEWAY_TIMEOUT);
    let daemon = FakeDaemon::with(|_| b"HTTP/1.1 400".to_vec());
    let mut browser = Browser::of(&daemon);
    browser.log_in().await;
    let page = browser.get("/stats").await;
    assert!(page.text.contains("is not a control socket"));
}

#[tokio::test]
async fn several_hosts_can_be_told_apart() {
    let (one, two) = (FakeDaemon::holding(messages(1)), FakeDaemon::holding(messages(2)));
    let mut settings = fake::settings(one.socket().to_str().unwrap());
    settings.hosts[0].name = "mx one".into();
    let host = mta_admin::settings::Host { name: "mx<two>".into(), socket: two.socket() };
    settings.hosts.push(host);
    let mut browser = Browser::with(&settings);
    browser.log_in().await;
    let page = browser.get("/queue").await;
    assert!(page.text.contains("<strong>1 message</strong>"));
    assert!(page.text.contains("/queue?host=mx%3Ctwo%3E"));
    let page = browser.get("/queue?host=mx%3Ctwo%3E").await;
    assert!(page.text.contains("<strong>2 messages</strong>"));
    assert!(page.text.contains("/stats?host=mx%3Ctwo%3E"));
    let fields =
        [("csrf", &*page.csrf()), ("host", "mx<two>"), ("row", &format!("delete/{FIRST}"))];
    let question = browser.post("/queue/confirm", &fields).await;
    let fields = hidden_fields(&question.text);
    let fields: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let done = browser.post("/queue/update", &fields).await;
    assert_eq!(done.location(), "/queue?host=mx%3Ctwo%3E");
    assert!(two.letters().ends_with('G') && !one.letters().contains('G'));
    assert_eq!(browser.get("/queue?host=three").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn assets_are_served_and_kept() {
    let daemon = FakeDaemon::holding(Vec::new());
    let mut browser = Browser::of(&daemon);
    for (name, kind) in [("admin.css", "text/css"), ("admin.js", "text/javascript")] {
        let page = browser.get(&format!("/assets/{name}")).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.headers[header::CONTENT_TYPE].to_str().unwrap().starts_with(kind));
        let request = axum::http::Request::get(format!("/assets/{name}"))
            .header(header::IF_NONE_MATCH, &page.headers[header::ETAG])
            .body(axum::body::Body::empty())
            .unwrap();
        assert_eq!(browser.send(request).await.status, StatusCode::NOT_MODIFIED);
    }
    assert_eq!(browser.get("/assets/none").await.status, StatusCode::NOT_FOUND);
}

/// The hidden fields of the form in the page's content.
fn hidden_fields(html: &str) -> Vec<(String, String)> {
    let (_, form) = html.split_once("action=\"/queue/update\"").expect("the form is there");
    form.split("<input type=\"hidden\" name=\"")
        .skip(1)
        .map(|field| {
            let mut parts = field.splitn(4, '"');
            let name = parts.next().unwrap();
            let value = parts.nth(1).unwrap();
            let value = value.replace("&#60;", "<").replace("&#62;", ">").replace("&#38;", "&");
            (name.to_owned(), value)
        })
        .collect()
}
