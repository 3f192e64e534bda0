//! Frames: what is written is read, in pieces of any size; what is not a frame is a typed error.

use control::{
    Message as _,
    command::{Program, TABLE, call},
    frame::{
        self, FrameError, Request, RequestDecoder, Response, ResponseDecoder, Status, Version,
    },
    pb,
};
use proptest::prelude::*;

/// Feeds `octets` in pieces of the given sizes, over and over.
fn feed<T>(
    octets: &[u8],
    sizes: &[usize],
    mut decode: impl FnMut(&mut &[u8]) -> Result<Option<T>, FrameError>,
) -> Result<Vec<T>, FrameError> {
    let mut found = Vec::new();
    let mut rest = octets;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let size = sizes.next().map_or(1, |size| *size).clamp(1, rest.len());
        let (mut piece, later) = rest.split_at(size);
        rest = later;
        while let Some(item) = decode(&mut piece)? {
            found.push(item);
        }
        assert!(piece.is_empty(), "a decoder that wants more has taken everything");
    }
    Ok(found)
}

fn smtpd_requests(octets: &[u8], sizes: &[usize]) -> Result<Vec<Request>, FrameError> {
    let mut decoder = RequestDecoder::new(Program::Smtpd);
    feed(octets, sizes, |input| decoder.decode(input))
}

proptest! {
    #[test]
    fn requests_survive_any_division(
        requests in prop::collection::vec((0..TABLE.len(), prop::collection::vec(any::<u8>(), 0..200)), 0..10),
        sizes in prop::collection::vec(1usize..40, 1..10),
        minor in 0u8..20,
    ) {
        let version = Version::new(5, minor);
        let requests: Vec<_> = requests
            .into_iter()
            .map(|(row, body)| (TABLE[row], body))
            .filter(|(command, _)| command.programs.contains(&Program::Smtpd))
            .collect();
        let mut octets = Vec::new();
        frame::encode_version(version, &mut octets);
        for (command, body) in &requests {
            frame::encode_request(command, version, body, &mut octets);
        }
        let found = smtpd_requests(&octets, &sizes).unwrap();
        prop_assert_eq!(found.len(), requests.len());
        for (found, (command, body)) in found.iter().zip(&requests) {
            prop_assert_eq!(found.command, *command);
            prop_assert_eq!(found.version, version);
            let expected: &[u8] = if command.has_body(version) { body } else { &[] };
            prop_assert_eq!(found.body.as_slice(), expected);
        }
    }

    #[test]
    fn responses_survive_any_division(
        responses in prop::collection::vec((0..3usize, prop::collection::vec(any::<u8>(), 0..200)), 0..10),
        sizes in prop::collection::vec(1usize..40, 1..10),
    ) {
        let responses: Vec<_> = responses
            .into_iter()
            .map(|(kind, body)| {
                let status = [Status::Success, Status::Error, Status::Log][kind];
                Response { status, body }
            })
            .collect();
        let mut octets = Vec::new();
        for response in &responses {
            frame::encode_response(response.status, &response.body, &mut octets);
        }
        let mut decoder = ResponseDecoder::new();
        let found = feed(&octets, &sizes, |input| decoder.decode(input)).unwrap();
        prop_assert_eq!(found, responses);
        prop_assert!(decoder.is_idle());
    }

    #[test]
    fn garbage_is_an_error_or_a_wait_and_never_a_panic(
        octets in prop::collection::vec(any::<u8>(), 0..300),
        sizes in prop::collection::vec(1usize..40, 1..10),
        greeted in any::<bool>(),
    ) {
        let mut input = if greeted { vec![5, 6] } else { Vec::new() };
        input.extend_from_slice(&octets);
        // Whole or in pieces, the reading is the same.
        let whole = smtpd_requests(&input, &[usize::MAX]);
        let pieces = smtpd_requests(&input, &sizes);
        prop_assert_eq!(whole.map(|r| r.len()), pieces.map(|r| r.len()));
        let mut decoder = ResponseDecoder::new();
        let _ = feed(&octets, &sizes, |input| decoder.decode(input));
    }

    #[test]
    fn garbage_bodies_are_decode_errors_and_never_panics(
        octets in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = pb::QueueListRequest::decode(octets.as_slice());
        for command in TABLE {
            let _ = control::json::response_to_json(command, &octets);
            if let Some(rows) = control::json::rows(command, &octets) {
                prop_assert!(rows.count() <= octets.len());
            }
        }
    }
}

#[test]
fn a_request_has_the_octets_of_the_reference() {
    let mut octets = Vec::new();
    frame::encode_version(Version::OURS, &mut octets);
    let request = pb::QueueQuotaRequest { quota: "a".to_owned() };
    let body = request.encode_to_vec();
    frame::encode_request(&call::QUEUE_QUOTA, Version::OURS, &body, &mut octets);
    frame::encode_request(&call::CONFIG_RELOAD, Version::OURS, &[], &mut octets);
    assert_eq!(octets, b"\x05\x06I\x03\0\0\0\0\0\0\0\x0a\x01ar");
}

#[test]
fn an_answer_has_the_octets_of_the_reference() {
    let mut octets = Vec::new();
    frame::encode_success(&pb::QueueQuotaResponse { count: 2, bytes: 0 }, &mut octets);
    frame::encode_success(&(), &mut octets);
    frame::encode_error("no such quota \u{e9}", &mut octets);
    let expected: &[u8] =
        b"+\x02\0\0\0\0\0\0\0\x08\x02+\0\0\0\0\0\0\0\0E\x0f\0\0\0\0\0\0\0no such quota ?";
    assert_eq!(octets, expected);
}

#[test]
fn an_announced_length_above_the_limit_is_refused_before_its_octets() {
    let mut decoder = RequestDecoder::new(Program::Smtpd).with_limit(10);
    let mut input: &[u8] = b"\x05\x06F\x0b\0\0\0\0\0\0\0";
    let error = decoder.decode(&mut input).unwrap_err();
    assert_eq!(error, FrameError::TooLarge { length: 11, limit: 10 });

    let mut decoder = ResponseDecoder::new();
    let error = decoder
        .decode(&mut [b'+'].iter().chain(&[0xff; 8]).copied().collect::<Vec<_>>().as_slice());
    assert_eq!(error, Err(FrameError::TooLarge { length: u64::MAX, limit: frame::MAX_RESPONSE }));
}

#[test]
fn a_body_at_the_limit_is_taken_and_what_follows_stays() {
    let mut decoder = RequestDecoder::new(Program::Smtpd).with_limit(3);
    let mut input: &[u8] = b"\x05\x06F\x03\0\0\0\0\0\0\0abcrest";
    let request = decoder.decode(&mut input).unwrap().expect("complete");
    assert_eq!(request.body, b"abc");
    assert_eq!(input, b"rest");
}

#[test]
fn other_versions_and_clients_without_one_are_refused_with_their_number() {
    let error = |octets: &[u8]| smtpd_requests(octets, &[1]).unwrap_err();
    assert_eq!(error(b"\x04\x01F"), FrameError::Version(Version::new(4, 1)));
    // An early client begins with its letter.
    assert_eq!(error(b"rr"), FrameError::Version(Version::new(b'r', b'r')));
    let text = error(b"\x06\0").to_string();
    assert!(text.starts_with(frame::VERSION_REFUSED) && text.contains("6.0"), "{text}");
    for minor in [2, 7, 15] {
        assert_eq!(smtpd_requests(&[5, minor, b'r'], &[1]).unwrap().len(), 1);
    }
}

#[test]
fn a_letter_of_no_command_ends_the_stream() {
    let error = smtpd_requests(b"\x05\x06\0", &[1]).unwrap_err();
    assert_eq!(error.to_string(), "unknown command 0x00");
    let error = smtpd_requests(b"\x05\x06Z", &[1]).unwrap_err();
    assert_eq!(error.to_string(), "unknown command \"Z\"");
}

#[test]
fn an_answer_that_begins_otherwise_is_no_control_protocol() {
    let mut input: &[u8] = b"220 mx.example.com ESMTP";
    let error = ResponseDecoder::new().decode(&mut input).unwrap_err();
    assert_eq!(error, FrameError::UnknownStatus(b'2'));
}

#[test]
fn an_idle_decoder_is_between_requests() {
    let mut decoder = RequestDecoder::new(Program::Smtpd);
    assert!(decoder.is_idle());
    decoder.decode(&mut b"\x05".as_slice()).unwrap();
    assert!(!decoder.is_idle());
    decoder.decode(&mut b"\x06".as_slice()).unwrap();
    assert!(decoder.is_idle());
    decoder.decode(&mut b"F\x01".as_slice()).unwrap();
    assert!(!decoder.is_idle());
}
