//! Runs the seeds of the fuzz targets through their bodies.

#[path = "../../../fuzz/src/seeds.rs"]
mod seeds;
#[path = "../../../fuzz/src/mail_message.rs"]
mod targets;

#[test]
fn messages_keep_their_promises_on_all_seeds() {
    seeds::run("mail_message", targets::message);
}

#[test]
fn addresses_keep_their_promises_on_all_seeds() {
    seeds::run("mail_addresses", targets::addresses);
}
