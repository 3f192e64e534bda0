//! The live stage: a second running configuration for some connections, and scripts under a debugger.

use control::client::{Client, ClientError, Endpoint, Timeouts};
use control::command::{Call, call};
use control::frame::Status;
use control::{Message, pb};
use system_tests::{Setup, TestDaemon, running};
use testkit::dns_zone::Zone;
use testkit::smtp_client::SmtpClient;
use testkit::smtp_sink::SmtpSink;
use tokio::task::block_in_place;

const MESSAGE: &str = "Subject: hello\r\n\r\nText\r\n";

/// A control connection.
struct Control(Client);

impl Control {
    fn connect(daemon: &TestDaemon) -> Self {
        let endpoint = Endpoint::Unix(daemon.control_socket());
        Self(Client::connect(&endpoint, Timeouts::default()).unwrap())
    }

    fn call<Q: Message, R: Message + Default>(
        &mut self,
        call: Call<Q, R>,
        request: &Q,
    ) -> Result<R, String> {
        let answer = block_in_place(|| self.0.call(call, request));
        answer.map_err(|error| match error {
            ClientError::Failed(text) => text,
            other => panic!("{other}"),
        })
    }

    fn start(
        &mut self,
        setup: &Setup,
        request: pb::ConfigGreenDeployRequest,
    ) -> Result<(), String> {
        let id = if request.id.is_empty() { "t1".to_owned() } else { request.id.clone() };
        let request = pb::ConfigGreenDeployRequest { id, config: running(setup), ..request };
        self.call(call::STAGE_START, &request)
    }

    /// Starts a stage that ends with this connection.
    fn debug(&mut self, setup: &Setup) {
        let request = pb::ConfigGreenDeployRequest { connectionbound: true, ..Default::default() };
        self.start(setup, request).unwrap();
    }

    fn status(&mut self) -> pb::ConfigGreenStatusResponse {
        self.call(call::STAGE_STATUS, &()).unwrap()
    }

    /// Asks for the next breakpoint; what it answers comes by [`Self::stop`].
    fn wait(&mut self) {
        block_in_place(|| self.0.send(&call::BREAKPOINT_WAIT, &[])).unwrap();
    }

    /// The answer to [`Self::wait`], with the lines in front of it.
    fn stop(&mut self) -> (Vec<pb::HslLogResponse>, Result<pb::HslBreakPointResponse, String>) {
        let mut lines = Vec::new();
        loop {
            let response = block_in_place(|| self.0.receive()).unwrap();
            let body = response.body.as_slice();
            match response.status {
                Status::Log => lines.push(pb::HslLogResponse::decode(body).unwrap()),
                Status::Success => {
                    return (lines, Ok(pb::HslBreakPointResponse::decode(body).unwrap()));
                }
                Status::Error => return (lines, Err(String::from_utf8_lossy(body).into_owned())),
            }
        }
    }

    /// The next breakpoint.
    fn next_stop(&mut self) -> pb::HslBreakPointResponse {
        self.wait();
        self.stop().1.unwrap()
    }

    fn go_on(&mut self) -> Result<(), String> {
        self.call(call::BREAKPOINT_CONTINUE, &())
    }
}

fn plain(sink: &SmtpSink) -> Setup {
    Setup { next_hop: Some(sink.address), ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_debugger_walks_with_a_message_from_mail_from_to_delivery() {
    let sink = SmtpSink::start().await;
    let mut daemon = TestDaemon::start(plain(&sink)).await;
    let staged = plain(&sink)
        .hook(
            "mailfrom",
            "function named($a) {\n__debug [\"t1\", \"7\"]; return $a[\"localpart\"];\n}\n\
             echo \"before\"; $name = named($arguments[\"address\"]); echo \"after $name\";",
        )
        .hook("predelivery", "__debug [\"t1\", \"8\"]\n$message;\nTry();");
    let mut debugger = Control::connect(&daemon);
    debugger.debug(&staged);
    debugger.wait();

    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let delivery = tokio::spawn(async move {
        client.deliver("a@client.example", &["b@example.org"], MESSAGE).await
    });
    let (lines, stop) = debugger.stop();
    let stop = stop.unwrap();
    let texts: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(&line.text)).collect();
    assert_eq!(texts, ["before"]);
    assert_eq!((stop.id.as_str(), stop.debugid.as_str()), ("7", "t1"));
    assert!(!stop.transactionid.is_empty());
    assert_eq!(lines[0].id, stop.transactionid);
    let wanted =
        r#"{"a":{"format":"json","value":"{\"localpart\":\"a\",\"domain\":\"client.example\"}"}}"#;
    assert_eq!(stop.values, wanted);
    let location = stop.location.unwrap();
    assert_eq!((location.file.as_str(), location.beginline), ("mailfrom/script", 2));
    let calls: Vec<_> = stop.callstack.iter().map(|frame| frame.function.as_str()).collect();
    assert_eq!(calls, ["named"]);
    // The script stands: nobody else is held up, and nothing was answered.
    assert!(!delivery.is_finished());
    assert_eq!(debugger.status().count, 1);
    debugger.go_on().unwrap();

    debugger.wait();
    let (lines, stop) = debugger.stop();
    let reply = delivery.await.unwrap();
    assert!(reply.starts_with("250 "), "{reply}");
    assert_eq!(String::from_utf8_lossy(&lines[0].text), "after a");
    // The message goes by the stage's own queue scripts, and is marked.
    assert_eq!(stop.unwrap().id, "8");
    let list =
        Control::connect(&daemon).call(call::QUEUE_LIST, &pb::QueueListRequest::default()).unwrap();
    assert_eq!(list.items[0].stageid, "t1");
    assert!(sink.messages().is_empty());
    debugger.go_on().unwrap();
    assert_eq!(sink.wait_for(1).await.len(), 1);
    assert_eq!(debugger.call(call::STAGE_CANCEL, &()), Ok(()));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_debugger_that_goes_away_leaves_no_mail_behind() {
    let sink = SmtpSink::start().await;
    let mut daemon = TestDaemon::start(plain(&sink)).await;
    let staged = plain(&sink)
        .hook("mailfrom", "__debug [\"t1\", \"1\"];")
        .hook("predelivery", "__debug [\"t1\", \"2\"]; Try();");
    let mut debugger = Control::connect(&daemon);
    debugger.debug(&staged);
    let mut deliveries = Vec::new();
    for to in ["one@example.org", "two@example.org"] {
        let (mut client, _) = SmtpClient::connect(daemon.address()).await;
        client.command("EHLO client.example").await;
        deliveries.push(tokio::spawn(async move {
            client.deliver("a@client.example", &[to], MESSAGE).await
        }));
    }
    // One is shown, the other stands behind it.
    assert_eq!(debugger.next_stop().id, "1");
    let mut operator = Control::connect(&daemon);
    operator.wait();
    let (_, answer) = operator.stop();
    assert_eq!(answer.unwrap_err(), "another connection debugs the live stage");
    drop(debugger);
    for delivery in deliveries {
        let reply = delivery.await.unwrap();
        assert!(reply.starts_with("250 "), "{reply}");
    }
    assert_eq!(sink.wait_for(2).await.len(), 2);
    assert_eq!(operator.status(), pb::ConfigGreenStatusResponse::default());
    operator.wait();
    assert_eq!(operator.stop().1.unwrap_err(), "there is no live stage");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exceptions_are_shown_and_waiting_ends_with_the_next_request() {
    let sink = SmtpSink::start().await;
    let mut daemon = TestDaemon::start(plain(&sink)).await;
    let mut debugger = Control::connect(&daemon);
    debugger.debug(&plain(&sink).hook("mailfrom", "$x = 1;\nthrow [\"why\" => $x];"));
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    let mail = tokio::spawn(async move { client.command("MAIL FROM:<a@client.example>").await });
    let stop = debugger.next_stop();
    assert_eq!((stop.id.as_str(), stop.debugid.as_str()), ("", ""));
    assert_eq!(stop.location.unwrap().beginline, 2);
    let thrown = r#""__throw":{"format":"json","value":"{\"why\":1}","uncaught":true,"message":"#;
    assert!(stop.values.contains(thrown), "{}", stop.values);
    assert_eq!(debugger.go_on(), Ok(()));
    assert_eq!(debugger.go_on(), Err("No breakpoint".to_owned()));
    // A script that fails takes the hook's error action, as without a debugger.
    assert!(mail.await.unwrap().starts_with('4'));
    // A debugger ends while it waits, as debuggers do.
    debugger.wait();
    block_in_place(|| debugger.0.send(&call::STAGE_CANCEL, &[])).unwrap();
    assert_eq!(debugger.stop().1.unwrap_err(), "Aborted");
    assert_eq!(debugger.stop().1, Ok(pb::HslBreakPointResponse::default()));
    assert_eq!(debugger.status(), pb::ConfigGreenStatusResponse::default());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stage_takes_the_connections_of_its_conditions_and_no_more() {
    let sink = SmtpSink::start().await;
    let setup = plain(&sink).hook("mailfrom", "Reject(\"blue\");");
    let mut daemon = TestDaemon::start(setup).await;
    let green = plain(&sink).hook("mailfrom", "__debug [\"t1\", \"1\"]; Reject(\"green\");");
    let mut control = Control::connect(&daemon);
    let with = |conditions: pb::ConfigGreenConditions| pb::ConfigGreenDeployRequest {
        conditions: Some(conditions),
        ..Default::default()
    };
    let colour = async || {
        let (mut client, _) = SmtpClient::connect(daemon.address()).await;
        client.command("EHLO client.example").await;
        let reply = client.command("MAIL FROM:<a@client.example>").await;
        reply.rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(colour().await, "blue");
    let elsewhere =
        pb::ConfigGreenConditions { remoteips: vec!["192.0.2.0/24".into()], ..Default::default() };
    control.start(&green, with(elsewhere)).unwrap();
    assert_eq!(colour().await, "blue");
    assert_eq!(
        control.start(&green, with(pb::ConfigGreenConditions::default())).unwrap_err(),
        "the live stage \"t1\" is there already"
    );
    control.call(call::STAGE_CANCEL, &()).unwrap();
    assert_eq!(control.call(call::STAGE_CANCEL, &()).unwrap_err(), "there is no live stage");

    let here = pb::ConfigGreenConditions {
        remoteips: vec!["127.0.0.0/8".into()],
        serverids: vec!["default".into()],
        count: 2,
        time: 3600,
        ..Default::default()
    };
    control.start(&green, with(here.clone())).unwrap();
    // Without a debugger breakpoints hold nobody up; they can be polled.
    for colour_wanted in ["green", "green", "blue"] {
        assert_eq!(colour().await, colour_wanted);
    }
    let status = control.status();
    assert_eq!((status.id.as_str(), status.count, status.expired), ("t1", 2, true));
    assert_eq!(status.conditions, Some(here));
    let poll = |control: &mut Control, id: &str| {
        let request = pb::HslBreakPointRequest { id: id.to_owned() };
        control.call(call::BREAKPOINT_POLL, &request).map(|stop| stop.id)
    };
    assert_eq!(poll(&mut control, "other"), Err("No breakpoint".to_owned()));
    assert_eq!(poll(&mut control, "t1"), Ok("1".to_owned()));
    assert_eq!(poll(&mut control, ""), Ok("1".to_owned()));
    assert_eq!(poll(&mut control, ""), Err("No breakpoint".to_owned()));

    // An expired stage makes room for the next; one that does not compile does not.
    let broken = plain(&sink).hook("mailfrom", "Reject(");
    let refused = control.start(&broken, pb::ConfigGreenDeployRequest::default()).unwrap_err();
    assert!(refused.contains("mailfrom/script"), "{refused}");
    assert_eq!(control.status().count, 2);
    let named = pb::ConfigGreenDeployRequest { id: "t2".into(), ..Default::default() };
    control.start(&green, named).unwrap();
    assert_eq!(control.status().id, "t2");
    assert_eq!(colour().await, "green");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn scripts_of_a_stage_see_its_own_configuration() {
    let sink = SmtpSink::start().await;
    let mut daemon = TestDaemon::start(plain(&sink)).await;
    let zone = Zone::new().address("mine.example", "192.0.2.7").serve().await;
    let staged = Setup { name_server: Some(zone.address), ..plain(&sink) }
        .hook("mailfrom", "Reject(dns4(\"mine.example\")[0]);");
    let mut control = Control::connect(&daemon);
    control.start(&staged, pb::ConfigGreenDeployRequest::default()).unwrap();
    let (mut client, _) = SmtpClient::connect(daemon.address()).await;
    client.command("EHLO client.example").await;
    assert!(client.command("MAIL FROM:<a@client.example>").await.ends_with(" 192.0.2.7"));
    daemon.stop().await;
}
