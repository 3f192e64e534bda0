//! What the fuzz target of `crates/control` does with its input.
//!
//! A plain function, so that the corpus also runs as an ordinary test
//! (`crates/control/tests/fuzz_corpus.rs`). A broken promise panics.

use control::command::{Program, TABLE};
use control::frame::{RequestDecoder, ResponseDecoder};
use control::json;

/// A daemon's and a client's end read the same octets, whole and octet by octet, with the same
/// result; bodies that decode have a JSON form, and that form encodes again.
pub(crate) fn frames(octets: &[u8]) {
    for program in Program::ALL {
        let requests = || RequestDecoder::new(program).with_limit(LIMIT);
        let (mut whole, mut single) = (requests(), requests());
        let mut rest = octets;
        let mut found = Vec::new();
        let end = loop {
            match whole.decode(&mut rest) {
                Ok(Some(request)) => found.push(request),
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        let mut again = Vec::new();
        let mut end_again = None;
        for mut octet in octets.chunks(1) {
            match single.decode(&mut octet) {
                Ok(Some(request)) => again.push(request),
                Ok(None) => {}
                Err(error) => {
                    end_again = Some(error.to_string());
                    break;
                }
            }
        }
        assert_eq!((found.len(), &end), (again.len(), &end_again), "cuts change what is read");
        for (request, again) in found.iter().zip(&again) {
            assert_eq!(request.body, again.body, "cuts change a body");
            if let Some(descriptor) = json::request_of(request.command) {
                check(&descriptor, &request.body);
            }
        }
    }
    let mut responses = ResponseDecoder::new().with_limit(LIMIT);
    let mut rest = octets;
    while let Ok(Some(response)) = responses.decode(&mut rest) {
        assert!(response.body.len() as u64 <= LIMIT, "a body over the limit");
        // Which command it answers is the client's to know: it reads as any of them or not at all.
        for command in TABLE {
            drop(json::response_to_json(command, &response.body));
            if let Some(rows) = json::rows(command, &response.body) {
                rows.for_each(drop);
            }
        }
    }
}

fn check(descriptor: &prost_reflect::MessageDescriptor, body: &[u8]) {
    let Ok(value) = json::to_json(descriptor, body) else { return };
    let encoded = json::from_json(descriptor, &value).expect("what was printed can be read");
    let again = json::to_json(descriptor, &encoded).expect("what was encoded decodes");
    assert_eq!(value, again, "encoding changed the message");
}

/// Far below what a daemon takes, so that the limit is met often.
const LIMIT: u64 = 1000;
