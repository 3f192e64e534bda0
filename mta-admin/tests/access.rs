//! Who gets in: login, sessions, form tokens, headers, the brake, the door.

mod fake;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use control::{command::call, pb};
use fake::{Browser, FakeDaemon, PASSWORD, Page, SECRET, messages};
use mta_admin::{auth::throttle::MAX_PER_ADDRESS, settings::User};

const PAGES: &[&str] = &["/", "/queue", "/queue/message?id=a:1", "/stats"];
const FORMS: &[&str] = &["/logout", "/queue/confirm", "/queue/update"];

#[tokio::test]
async fn pages_and_forms_need_a_session() {
    let daemon = FakeDaemon::holding(messages(1));
    let mut browser = Browser::of(&daemon);
    browser.set_cookie("mta_admin_session", "0000");
    for path in PAGES {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{path}");
        assert!(page.location().starts_with("/login"), "{path}");
    }
    for path in FORMS {
        assert_eq!(browser.post(path, &[]).await.location(), "/login", "{path}");
    }
    assert_eq!(daemon.letters(), "");
}

#[tokio::test]
async fn a_login_leads_back_and_its_cookie_is_out_of_reach() {
    let daemon = FakeDaemon::holding(messages(1));
    let mut browser = Browser::of(&daemon);
    let csrf = browser.get("/login?next=%2Fstats").await.csrf();
    let fields =
        [("csrf", &*csrf), ("username", "eve"), ("password", PASSWORD), ("next", "/stats")];
    let page = browser.post("/login", &fields).await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/stats"));
    let cookie = page.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
    assert_eq!(browser.get("/stats").await.status, StatusCode::OK);
    let mut encrypted = browser.another();
    encrypted.peer.is_tls = true;
    let page = encrypted.try_log_in("eve", PASSWORD).await;
    assert!(page.headers[header::SET_COOKIE].to_str().unwrap().ends_with("; Secure"));
    assert!(page.headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
}

#[tokio::test]
async fn each_login_has_a_session_of_its_own() {
    let daemon = FakeDaemon::holding(messages(1));
    let mut browser = Browser::of(&daemon);
    browser.set_cookie("mta_admin_session", "chosen-by-somebody-else");
    browser.log_in().await;
    let first = browser.cookie("mta_admin_session").unwrap().to_owned();
    assert_ne!(first, "chosen-by-somebody-else");
    browser.log_in().await;
    assert_ne!(browser.cookie("mta_admin_session"), Some(first.as_str()));
}

#[tokio::test]
async fn a_logout_ends_the_session_for_everybody_who_has_its_cookie() {
    let daemon = FakeDaemon::holding(messages(1));
    let mut browser = Browser::of(&daemon);
    browser.log_in().await;
    let token = browser.cookie("mta_admin_session").unwrap().to_owned();
    let csrf = browser.get("/queue").await.csrf();
    let page = browser.post("/logout", &[("csrf", &csrf)]).await;
    assert_eq!(page.location(), "/login");
    assert_eq!(browser.cookie("mta_admin_session"), None);
    let mut thief = browser.another();
    thief.set_cookie("mta_admin_session", &token);
    assert_eq!(thief.get("/queue").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn forms_without_the_token_of_their_session_are_refused() {
    let daemon = FakeDaemon::holding(messages(1));
    let mut browser = Browser::of(&daemon);
    browser.log_in().await;
    let mut other = browser.another();
    other.log_in().await;
    let foreign = other.get("/stats").await.csrf();
    for path in FORMS {
        for token in ["", "0000", foreign.as_str()] {
            let fields = [("csrf", token), ("action", "delete"), ("scope", "all"), ("count", "1")];
            let page = browser.post(path, &fields).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{path} {token}");
        }
        assert_eq!(browser.post(path, &[]).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(browser.get("/queue").await.status, StatusCode::OK, "the session goes on");
    assert!(!daemon.letters().contains('G'));
}

#[tokio::test]
async fn the_login_form_needs_its_token_too() {
    let daemon = FakeDaemon::holding(messages(1));
    let mut browser = Browser::of(&daemon);
    let fields = [("csrf", ""), ("username", "eve"), ("password", PASSWORD)];
    assert_eq!(browser.post("/login", &fields).await.status, StatusCode::FORBIDDEN);
    browser.get("/login").await;
    assert_eq!(browser.post("/login", &fields).await.status, StatusCode::FORBIDDEN);
    assert_eq!(browser.cookie("mta_admin_session"), None);
}

#[tokio::test]
async fn forms_of_other_sites_are_refused() {
    let daemon = FakeDaemon::holding(messages(1));
    let mut browser = Browser::of(&daemon);
    browser.log_in().await;
    let csrf = browser.get("/stats").await.csrf();
    let request = |name: &str, value: &str| {
        Request::post("/logout")
            .header(header::HOST, "mx:8080")
            .header(name, value)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(format!("csrf={csrf}")))
            .unwrap()
    };
    for (name, value) in [("origin", "http://evil"), ("sec-fetch-site", "cross-site")] {
        let page = browser.send(request(name, value)).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{name}");
    }
    let page = browser.send(request("origin", "http://mx:8080")).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn guessing_is_stopped_and_even_the_right_password_waits() {
    let daemon = FakeDaemon::holding(messages(1));
    let mut browser = Browser::of(&daemon);
    for _ in 0..MAX_PER_ADDRESS {
        let page = browser.try_log_in("eve", "wrong").await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    }
    let page = browser.try_log_in("eve", PASSWORD).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(page.headers.contains_key(header::RETRY_AFTER));
    assert!(page.text.contains("too many failed logins"));
    let mut elsewhere = browser.another();
    elsewhere.peer.address = "198.51.100.7:1".parse().unwrap();
    elsewhere.log_in().await;
}

#[tokio::test]
async fn wrong_users_and_wrong_passwords_look_the_same() {
    let daemon = FakeDaemon::holding(messages(1));
    let mut browser = Browser::of(&daemon);
    let known = browser.try_log_in("eve", "wrong").await;
    let unknown = browser.try_log_in("bob", "wrong").await;
    let strip = |page: &Page| page.text.replace(&page.csrf(), "").replace("bob", "eve");
    assert_eq!(strip(&known), strip(&unknown));
    assert_eq!(known.status, unknown.status);
}

#[tokio::test]
async fn every_answer_carries_the_headers() {
    let daemon = FakeDaemon::holding(messages(1));
    let mut browser = Browser::of(&daemon);
    for path in ["/login", "/queue", "/nowhere", "/assets/admin.css"] {
        let page = browser.get(path).await;
        let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{path}");
        assert_eq!(page.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(page.headers[header::X_FRAME_OPTIONS], "DENY");
        assert_eq!(page.headers[header::REFERRER_POLICY], "same-origin");
        let is_asset = path.starts_with("/assets");
        assert_eq!(page.headers[header::CACHE_CONTROL] == "no-store", !is_asset, "{path}");
    }
}

#[tokio::test]
async fn pages_need_nothing_from_elsewhere_and_nothing_inline() {
    let daemon = FakeDaemon::holding(messages(3));
    let mut browser = Browser::of(&daemon);
    browser.log_in().await;
    let mut texts = vec![browser.another().get("/login").await.text];
    for path in ["/queue", "/stats", "/queue/message?id=x:1", "/nowhere"] {
        texts.push(browser.get(path).await.text);
    }
    for text in texts {
        assert!(
            !text.contains("http://") && !text.contains("https://") && !text.contains("style=")
        );
        assert!(
            !text.contains(" onclick") && !text.contains("<style") && !text.contains("<script>")
        );
    }
}

#[tokio::test]
async fn a_session_ends_when_its_user_is_removed_or_gets_a_new_password() {
    let daemon = FakeDaemon::holding(messages(1));
    let settings = fake::settings(daemon.socket().to_str().unwrap());
    let state = mta_admin::state::App::new(&settings);
    let now = std::time::Instant::now();
    let token = state.sessions.start("eve", now);
    state.replace_users(&settings.users);
    assert!(state.sessions.find(&token, now).is_some());
    let changed = fake::settings("/x").users[0].password.clone();
    state.replace_users(&[User { username: "eve".into(), password: changed }]);
    assert!(state.sessions.find(&token, now).is_none());
}

fn door(key: &str, body: &str) -> Request<Body> {
    Request::post("/api/protobuf")
        .header("x-api-key", key)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_owned()))
        .unwrap()
}

#[tokio::test]
async fn the_door_answers_in_json_to_those_who_have_the_key() {
    let daemon = FakeDaemon::holding(messages(2));
    let mut browser = Browser::of(&daemon);
    let body = r#"{"program": "smtpd", "command": "F",
                   "payload": {"conditions": {"queues": [{"queue": "DEFER"}]}, "paging": {"limit": "5"}}}"#;
    let page = browser.send(door(SECRET, body)).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    let answer: serde_json::Value = serde_json::from_str(&page.text).unwrap();
    assert_eq!(answer["paging"]["total"], "0");
    let request = daemon.request(call::QUEUE_LIST);
    assert_eq!(request.paging, Some(pb::Paging { offset: 0, limit: 5 }));
    let page = browser.send(door(SECRET, r#"{"program": "smtpd", "command": "q"}"#)).await;
    let answer: serde_json::Value = serde_json::from_str(&page.text).unwrap();
    assert_eq!(answer["process"]["pid"], "145");
    let page = browser.send(door(SECRET, r#"{"command": "g"}"#)).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert_eq!(page.text, r#"{"error":"not in this test"}"#);
}

#[tokio::test]
async fn the_door_is_shut_to_strangers_and_without_a_secret() {
    let daemon = FakeDaemon::holding(messages(2));
    let mut browser = Browser::of(&daemon);
    let body = r#"{"command": "q"}"#;
    for key in ["", "0123456789abcdeF", "0123456789abcdef0"] {
        let page = browser.send(door(key, body)).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    }
    let without = Request::post("/api/protobuf").body(Body::from(body)).unwrap();
    assert_eq!(browser.send(without).await.status, StatusCode::UNAUTHORIZED);
    let mut settings = fake::settings(daemon.socket().to_str().unwrap());
    settings.door = None;
    let page = Browser::with(&settings).send(door("", body)).await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert_eq!(daemon.letters(), "");
}

#[tokio::test]
async fn the_door_takes_no_more_than_its_size() {
    let daemon = FakeDaemon::holding(messages(2));
    let mut settings = fake::settings(daemon.socket().to_str().unwrap());
    settings.listeners[0].max_size = 1024;
    let mut browser = Browser::with(&settings);
    let page = browser.send(door(SECRET, &" ".repeat(2000))).await;
    assert_eq!(page.status, StatusCode::PAYLOAD_TOO_LARGE);
}
